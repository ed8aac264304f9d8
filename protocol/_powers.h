/* Powers of ten in 128 bits, for reading and writing numbers: see _shortest.h and _closest.h.
 *
 * What is kept of each is the highest 128 bits of the power of five of the same exponent: the rest is a power of two.
 * Found at the start of the program, with exact arithmetic on long numbers.
 */

#ifndef TASKFERRY_POWERS_H
#define TASKFERRY_POWERS_H

#include <stdint.h>
#include <string.h>

#ifdef __SIZEOF_INT128__
#define HAS_POWERS 1

typedef unsigned __int128 wide;

/* What the smallest number needs that is read, and the smallest that is written. */
#define POWER_MIN (-342)
#define POWER_MAX 324
/* Up to this one (from 0 on) a power fits, and is exact. All others are a little less than the power. */
#define POWER_EXACT_MAX 55

struct power {
    uint64_t high, low;
};

static struct power powers[POWER_MAX - POWER_MIN + 1];

/* Of 32 bits each, the lowest first, of a long number. 5 to the 342 has 795 bits, and 2 to the 960 over that still
 * 166. */
#define LIMBS_COUNT 31

static struct power highest_bits(const uint32_t *limbs) {
    int i = LIMBS_COUNT - 1;
    while (limbs[i] == 0) {
        i--;
    }
    int shift = __builtin_clz(limbs[i]);
    wide bits = 0;
    for (int j = i; j > i - 4; j--) {
        bits = bits << 32 | (j >= 0 ? limbs[j] : 0);
    }
    bits <<= shift;
    if (shift && i >= 4) {
        bits |= limbs[i - 4] >> (32 - shift);
    }
    return (struct power){(uint64_t)(bits >> 64), (uint64_t)bits};
}

static void find_powers(void) {
    uint32_t limbs[LIMBS_COUNT] = {1};
    for (int power = 0; power <= POWER_MAX; power++) {
        uint64_t carried = 0;
        powers[power - POWER_MIN] = highest_bits(limbs);
        for (int i = 0; i < LIMBS_COUNT; i++) {
            carried += 5 * (uint64_t)limbs[i];
            limbs[i] = (uint32_t)carried;
            carried >>= 32;
        }
    }
    memset(limbs, 0, sizeof limbs);
    limbs[LIMBS_COUNT - 1] = 1;
    for (int power = -1; power >= POWER_MIN; power--) {
        uint64_t rest = 0;
        for (int i = LIMBS_COUNT - 1; i >= 0; i--) {
            rest = rest << 32 | limbs[i];
            limbs[i] = (uint32_t)(rest / 5);
            rest %= 5;
        }
        powers[power - POWER_MIN] = highest_bits(limbs);
    }
}

#else
#define HAS_POWERS 0

static void find_powers(void) {}

#endif
#endif
