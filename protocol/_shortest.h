/* The shortest decimal that is read as the same number, as Python's `repr` finds it.
 *
 * Python's own way takes up to half a microsecond. Three products with a power of ten of 128 bits say where the number
 * is, and half the way to the next one on both sides; of the shortest decimals in between the closest is taken. (The
 * algorithm is from Giulietti, "The Schubfach way to render doubles", 2020, as Neuhaus writes it in his "Drachennest".)
 */

#ifndef TASKFERRY_SHORTEST_H
#define TASKFERRY_SHORTEST_H

#include "_powers.h"

/* `digits` times 10 to the `power`. */
struct decimal {
    uint64_t digits;
    int power;
};

#if HAS_POWERS

/* The highest 64 bits of a product; the lowest of them is set also if what is cut off is not 0. */
static inline uint64_t rounded_to_odd(struct power ten, uint64_t factor) {
    uint64_t lowest = (uint64_t)((wide)ten.low * factor >> 64);
    wide product = (wide)ten.high * factor + lowest;
    return (uint64_t)(product >> 64) | ((uint64_t)product > 1);
}

static struct decimal without_zeros(uint64_t digits, int power) {
    while (digits % 100 == 0) {
        digits /= 100;
        power += 2;
    }
    return digits % 10 ? (struct decimal){digits, power} : (struct decimal){digits / 10, power + 1};
}

/* Sets `decimal` to what `number` is, which is over 0 and finite. No if it must be found in another way. */
static int is_shortest(double number, struct decimal *decimal) {
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    uint64_t fraction = bits & ((1ULL << 52) - 1), mantissa = fraction;
    int exponent = (int)(bits >> 52);
    if (exponent) {
        mantissa |= 1ULL << 52;
    }
    int binary = (exponent ? exponent : 1) - 1075; /* the number is the mantissa times 2 to this */
    if (binary <= 0 && binary > -53 && (mantissa & ((1ULL << -binary) - 1)) == 0) {
        *decimal = without_zeros(mantissa >> -binary, 0);
        return 1;
    }
    int is_odd = mantissa & 1, is_lower_closer = fraction == 0 && exponent > 1;
    int power = (binary * 1262611 - (is_lower_closer ? 524031 : 0)) >> 22;
    int shift = binary + ((-power * 1741647) >> 19) + 1;
    struct power ten = powers[-power - POWER_MIN];
    if (power > 0 || power < -POWER_EXACT_MAX) {
        ten.high += ++ten.low == 0; /* not less than the power */
    }
    /* Four times what is looked for, and the ends of what is read as the number: they are so only if it is even. */
    uint64_t middle = rounded_to_odd(ten, (4 * mantissa) << shift);
    uint64_t low = rounded_to_odd(ten, (4 * mantissa - 2 + (uint64_t)is_lower_closer) << shift) + (uint64_t)is_odd;
    uint64_t high = rounded_to_odd(ten, (4 * mantissa + 2) << shift) - (uint64_t)is_odd;
    uint64_t below = middle / 4, shorter = below / 10;
    int is_below_in = low <= 40 * shorter, is_above_in = 40 * shorter + 40 <= high;
    if (below >= 10 && is_below_in != is_above_in) {
        *decimal = without_zeros(shorter + (uint64_t)is_above_in, power + 1);
        return 1;
    }
    is_below_in = low <= 4 * below;
    is_above_in = 4 * below + 4 <= high;
    if (is_below_in == is_above_in) { /* the closer one; the even one if they are as close */
        is_above_in = middle > 4 * below + 2 || (middle == 4 * below + 2 && below & 1);
    }
    *decimal = without_zeros(below + (uint64_t)is_above_in, power);
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
