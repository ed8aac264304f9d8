/* The shortest decimal that is read as the same number, as Python's `repr` finds it, for numbers of usual size.
 *
 * Python's own way takes up to half a microsecond. Between 1e-10 and 1e16 all that is needed fits in 128 bits and is exact:
 * the number, and half the way to the next one on both sides, times a power of ten. All integers in between are read
 * as this number. Digits are taken off as long as one is left in between.
 */

#ifndef TASKFERRY_SHORTEST_H
#define TASKFERRY_SHORTEST_H

#include <stdint.h>
#include <string.h>

/* `digits` times 10 to the `power`. */
struct decimal {
    uint64_t digits;
    int power;
};

#ifdef __SIZEOF_INT128__

typedef unsigned __int128 wide;

/* Sets `decimal` to what `number` is. No if it must be found in another way: too small or large, or two are as close. */
static int is_shortest(double number, struct decimal *decimal) {
    static const uint64_t POWERS_OF_5[28] = {
        1ULL, 5ULL, 25ULL, 125ULL, 625ULL, 3125ULL, 15625ULL, 78125ULL, 390625ULL, 1953125ULL, 9765625ULL, 48828125ULL,
        244140625ULL, 1220703125ULL, 6103515625ULL, 30517578125ULL, 152587890625ULL, 762939453125ULL, 3814697265625ULL,
        19073486328125ULL, 95367431640625ULL, 476837158203125ULL, 2384185791015625ULL, 11920928955078125ULL,
        59604644775390625ULL, 298023223876953125ULL, 1490116119384765625ULL, 7450580596923828125ULL,
    };
    if (!(number >= 1e-10 && number < 1e16)) {
        return 0;
    }
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    uint64_t mantissa = (bits & ((1ULL << 52) - 1)) | 1ULL << 52;
    int exponent = (int)(bits >> 52) - 1023; /* 2 to this is the number or just below */
    int log_10 = exponent * 1233 >= 0 ? exponent * 1233 / 4096 : -((4095 - exponent * 1233) / 4096);
    int power = 16 - log_10; /* times 10 to this, the number has 17 digits or 18 before the point */
    int fraction_size = 38 - exponent + log_10; /* in bits, of the four below */
    uint64_t is_even = ~mantissa & 1;
    wide five = POWERS_OF_5[power], one = (wide)1 << fraction_size;
    wide middle = 4 * mantissa * five;
    wide high = middle + 2 * five, low = middle - (mantissa == 1ULL << 52 ? 1 : 2) * five;
    /* The integers from `bottom` to `top` are read as the number; the ends themselves only if it is even. */
    uint64_t top = (uint64_t)((high - !is_even) >> fraction_size);
    uint64_t bottom = (uint64_t)((low + !is_even + one - 1) >> fraction_size);
    uint64_t unit = 1;
    while (top / 10 >= (bottom + 9) / 10) {
        top /= 10;
        bottom = (bottom + 9) / 10;
        unit *= 10;
        power--;
    }
    uint64_t closest = top;
    if (top != bottom) {
        uint64_t whole = (uint64_t)(middle >> fraction_size);
        wide rest = ((wide)(whole % unit) << fraction_size) + (middle & (one - 1)), half = unit * one;
        closest = whole / unit + (2 * rest > half);
        if (2 * rest == half || closest < bottom || closest > top) {
            return 0;
        }
    }
    *decimal = (struct decimal){closest, -power};
    return 1;
}

#else

static int is_shortest(double number, struct decimal *decimal) {
    (void)number;
    (void)decimal;
    return 0;
}

#endif
#endif
