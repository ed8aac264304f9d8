/* The number closest to a decimal, as Python's `float` finds it.
 *
 * Python's own way takes up to half a microsecond, msgspec's up to ten. Two products of 64 bits with a power of ten say
 * all that is needed of 19 digits. Only if more digits could make a difference, long numbers are compared. (The
 * algorithm is from Lemire, "Number parsing at a gigabyte per second", Software: Practice and Experience 51, 2021; that
 * it needs no other for 19 digits is from Mushtak and Lemire, "Fast number parsing without fallback", the same 53,
 * 2023.)
 */

#ifndef TASKFERRY_CLOSEST_H
#define TASKFERRY_CLOSEST_H

#include "_powers.h"

#include <float.h>
#include <math.h>

#if HAS_POWERS

/* The bits of what is closest to `digits`, which is not 0, times 10 to the `power`; infinity for what is too large. */
static uint64_t closest_bits(uint64_t digits, int64_t power) {
    const uint64_t infinity = 0x7ffULL << 52;
    if (power < POWER_MIN || power > 308) {
        return power < 0 ? 0 : infinity;
    }
    struct power ten = powers[power - POWER_MIN];
    if (power < 0 && power >= -27) {
        ten.high += ++ten.low == 0; /* these are rounded up, so that what is halfway can be seen */
    }
    int shift = __builtin_clzll(digits);
    digits <<= shift;
    wide first = (wide)digits * ten.high;
    uint64_t high = (uint64_t)(first >> 64), low = (uint64_t)first;
    if ((high & 0x1ff) == 0x1ff) { /* what is below may be carried into the 55 bits that count */
        uint64_t more = (uint64_t)((wide)digits * ten.low >> 64);
        low += more;
        high += low < more;
    }
    int upper = (int)(high >> 63);
    uint64_t mantissa = high >> (upper + 9);
    int exponent = (int)((217706 * power) >> 16) + 63 + upper - shift + 1023;
    if (exponent <= 0) {
        if (exponent <= -63) {
            return 0;
        }
        mantissa >>= 1 - exponent;
        return (mantissa + (mantissa & 1)) >> 1; /* what is carried makes the exponent 1, as it should be */
    }
    if (low <= 1 && power >= -4 && power <= 23 && (mantissa & 3) == 1 && mantissa << (upper + 9) == high) {
        mantissa &= ~1ULL; /* halfway, and the lower one is even */
    }
    mantissa = (mantissa + (mantissa & 1)) >> 1;
    if (mantissa == 1ULL << 53) {
        mantissa >>= 1;
        exponent++;
    }
    return exponent >= 0x7ff ? infinity : (uint64_t)exponent << 52 | (mantissa & ((1ULL << 52) - 1));
}

/* A long number, the lowest 64 bits first. */
#define LONG_LIMBS_MAX 64
/* Digits that are looked at one by one; of more, it matters only whether all are 0. No number needs more than 768. */
#define DIGITS_COUNT_MAX 780

struct long_number {
    int count;
    uint64_t limbs[LONG_LIMBS_MAX];
};

/* No if there is no room for it. */
static int is_multiplied(struct long_number *number, uint64_t factor, uint64_t plus) {
    wide carried = plus;
    for (int i = 0; i < number->count; i++) {
        carried += (wide)number->limbs[i] * factor;
        number->limbs[i] = (uint64_t)carried;
        carried >>= 64;
    }
    if (carried) {
        if (number->count == LONG_LIMBS_MAX) {
            return 0;
        }
        number->limbs[number->count++] = (uint64_t)carried;
    }
    return 1;
}

static int is_multiplied_by_power_of_5(struct long_number *number, int64_t power) {
    for (; power >= 27; power -= 27) {
        if (!is_multiplied(number, 7450580596923828125u, 0)) {
            return 0;
        }
    }
    uint64_t rest = 1;
    while (power-- > 0) {
        rest *= 5;
    }
    return is_multiplied(number, rest, 0);
}

static int is_shifted(struct long_number *number, int64_t size) {
    int limbs_count = (int)(size / 64);
    if (!is_multiplied(number, 1ULL << (size % 64), 0) || number->count + limbs_count > LONG_LIMBS_MAX) {
        return 0;
    }
    memmove(number->limbs + limbs_count, number->limbs, (size_t)number->count * sizeof *number->limbs);
    memset(number->limbs, 0, (size_t)limbs_count * sizeof *number->limbs);
    number->count += limbs_count;
    return 1;
}

/* Below, at or over 0: whether `one` is less than `other`, as large, or larger. */
static int compared(const struct long_number *one, const struct long_number *other) {
    if (one->count != other->count) {
        return one->count - other->count;
    }
    for (int i = one->count; i-- > 0;) {
        if (one->limbs[i] != other->limbs[i]) {
            return one->limbs[i] < other->limbs[i] ? -1 : 1;
        }
    }
    return 0;
}

/* Takes the first digits of a text for a number. Sets `left_count` to how many are left, and gives whether one of these
 * is not 0; -1 if there is no room. */
static int long_number_of(const char *text, struct long_number *number, int64_t *left_count) {
    uint64_t digits = 0, unit = 1;
    int taken_count = 0, is_cut = 0;
    number->count = 0;
    *left_count = 0;
    for (; (*text >= '0' && *text <= '9') || *text == '.' || *text == '-'; text++) {
        if (*text == '.' || *text == '-' || (*text == '0' && taken_count == 0)) {
            continue;
        }
        if (taken_count == DIGITS_COUNT_MAX) {
            is_cut |= *text != '0';
            ++*left_count;
            continue;
        }
        taken_count++;
        digits = digits * 10 + (uint64_t)(*text - '0');
        unit *= 10;
        if (unit == 10000000000000000000u) {
            if (!is_multiplied(number, unit, digits)) {
                return -1;
            }
            digits = 0, unit = 1;
        }
    }
    return is_multiplied(number, unit, digits) ? is_cut : -1;
}

/* Sets `bits` to the next higher number if that is closer to what begins at `text`, all digits of it times 10 to the
 * `power`; by comparing it with what is halfway. No if there is no room. */
static int is_rounded(const char *text, int64_t power, uint64_t *bits) {
    struct long_number number, halfway = {1, {0}};
    int64_t left_count;
    int is_cut = long_number_of(text, &number, &left_count), exponent = (int)(*bits >> 52);
    uint64_t mantissa = (*bits & ((1ULL << 52) - 1)) | (exponent ? 1ULL << 52 : 0);
    halfway.limbs[0] = 2 * mantissa + 1;
    power += left_count;
    int64_t shift = power - ((exponent ? exponent : 1) - 1076);
    if (is_cut < 0 || !is_multiplied_by_power_of_5(power < 0 ? &halfway : &number, power < 0 ? -power : power) ||
        !is_shifted(shift < 0 ? &halfway : &number, shift < 0 ? -shift : shift)) {
        return 0;
    }
    int order = compared(&number, &halfway);
    *bits += order > 0 || (order == 0 && (is_cut || mantissa & 1));
    return 1;
}

#endif

/* The first digits of a number, as many as fit; how many do not, and whether any of these is not 0. */
struct digits {
    uint64_t number;
    int64_t cut_count;
    int is_cut;
};

/* Sets `number` to what is closest to the number at `text`, without its sign: `digits` times 10 to the `power`. No
 * if it must be found in another way. */
static int is_closest(const char *text, const struct digits *digits, int64_t power, double *number) {
    static const double POWERS[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    if (digits->number == 0) {
        *number = 0;
        return 1;
    }
    if (FLT_EVAL_METHOD == 0 && !digits->is_cut && digits->number <= 1ULL << 53 && power >= -22 && power <= 22) {
        *number = (double)digits->number; /* it and the power are exact, so that only one step rounds */
        *number = power < 0 ? *number / POWERS[-power] : *number * POWERS[power];
        return 1;
    }
#if HAS_POWERS
    uint64_t bits = closest_bits(digits->number, power);
    if (digits->is_cut) {
        uint64_t above = digits->number == UINT64_MAX ? 0 : closest_bits(digits->number + 1, power);
        if (above != bits && (above != bits + 1 || !is_rounded(text, power - digits->cut_count, &bits))) {
            return 0;
        }
    }
    memcpy(number, &bits, sizeof bits);
    return 1;
#else
    (void)text;
    return 0;
#endif
}

#endif
