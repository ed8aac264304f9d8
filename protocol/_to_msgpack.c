/* Carries a value from JSON to MessagePack: see transcode.py, and _carrying.h for what is left to that.
 *
 * How many values a container has is known at its end, and belongs before them. So they are written without that, and
 * copied to where they belong at last.
 */

#include "_carrying.h"

#include <float.h>
#include <math.h>

/* Digits, point, sign and exponent of a number. */
#define NUMBER_LENGTH_MAX 64
/* Numbers in JSON that need the slow, exact way of reading: for more of them, msgspec's own way is faster than ours. */
#define SLOW_NUMBERS_COUNT_MAX 5000

/* What is read here ends in a NUL, as no value does, so that nothing has to ask whether the end is reached. */

static inline const byte *skip_space(const byte *p) {
    while (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r') {
        p++;
    }
    return p;
}

static inline int is_digit(byte c) { return (byte)(c - '0') <= 9; }

/* The lowest `size` bytes of `number`, the highest of them first. */
static inline void put_big_endian(struct carrying *to, uint64_t number, int size) {
    for (int shift = 8 * (size - 1); shift >= 0; shift -= 8) {
        put(to, (byte)(number >> shift));
    }
}

static void put_integer(struct carrying *to, uint64_t number, int is_negative) {
    int64_t value = (int64_t)(0 - number); /* if it is negative */
    if (!is_negative && number < 0x80) {
        put(to, (byte)number);
    } else if (is_negative && value >= -32) {
        put(to, (byte)value);
    } else {
        uint64_t below = is_negative ? number - 1 : number >> 1; /* what one bit less than the size has to hold */
        int power = below < 0x80 ? 0 : below < 0x8000 ? 1 : below < 0x80000000 ? 2 : 3;
        put(to, (byte)((is_negative ? 0xd0 : 0xcc) + power));
        put_big_endian(to, is_negative ? (uint64_t)value : number, 1 << power);
    }
}

/* The number at `p`, which has a point or an exponent: `digits` times 10 to the `power`, if `is_exact`. */
static const byte *write_float(struct carrying *to, const byte *start, const byte *p, uint64_t digits, int power,
                               int is_exact) {
    static const double POWERS[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    double number;
    uint64_t bits;
    if (p - start > NUMBER_LENGTH_MAX) {
        return NULL;
    }
    if (FLT_EVAL_METHOD == 0 && is_exact && digits <= 1ULL << 53 && power >= -22 && power <= 22) {
        number = (double)digits; /* it and the power are exact, so that only one step rounds */
        number = power < 0 ? number / POWERS[-power] : number * POWERS[power];
        number = *start == '-' ? -number : number;
    } else {
        char *end;
        if (++to->slow_numbers_count > SLOW_NUMBERS_COUNT_MAX) {
            return NULL;
        }
        number = PyOS_string_to_double((const char *)start, &end, NULL);
        if (end != (const char *)p || !isfinite(number)) {
            PyErr_Clear();
            return NULL;
        }
    }
    memcpy(&bits, &number, sizeof bits);
    put(to, 0xcb);
    put_big_endian(to, bits, 8);
    return p;
}

static const byte *write_number(struct carrying *to, const byte *p) {
    const byte *start = p;
    uint64_t digits = 0;
    int is_exact = 1, power = 0, exponent = 0;
    p += *p == '-';
    if (!is_digit(*p) || (*p == '0' && is_digit(p[1])) || !HAS_ROOM(to->out, 9)) {
        return NULL;
    }
    for (; is_digit(*p); p++) {
        uint64_t last = *p - '0';
        is_exact &= digits <= (UINT64_MAX - last) / 10;
        digits = digits * 10 + last;
    }
    if (*p != '.' && (*p | 0x20) != 'e') {
        int is_negative = *start == '-' && digits;
        if (!is_exact || (is_negative && digits > 1ULL << 63)) {
            return NULL;
        }
        put_integer(to, digits, is_negative);
        return p;
    }
    if (*p == '.') {
        if (!is_digit(*++p)) {
            return NULL;
        }
        for (; is_digit(*p); p++) {
            uint64_t last = *p - '0';
            is_exact &= digits <= (UINT64_MAX - last) / 10;
            digits = digits * 10 + last;
            power -= power > -1000;
        }
    }
    if ((*p | 0x20) == 'e') {
        p++;
        int is_negative = *p == '-';
        p += *p == '-' || *p == '+';
        if (!is_digit(*p)) {
            return NULL;
        }
        for (; is_digit(*p); p++) {
            exponent = exponent < 1000 ? exponent * 10 + (*p - '0') : exponent;
        }
        power += is_negative ? -exponent : exponent;
    }
    return write_float(to, start, p, digits, power, is_exact);
}

static int hex(const byte *p) {
    int number = 0;
    for (int i = 0; i < 4; i++) {
        byte c = p[i] | 0x20;
        if (!is_digit(p[i]) && (c < 'a' || c > 'f')) {
            return -1;
        }
        number = number << 4 | (is_digit(p[i]) ? p[i] - '0' : c - 'a' + 10);
    }
    return number;
}

/* The letter of \uXXXX, or of two of them where the first is half of a surrogate pair. */
static const byte *write_unicode(struct carrying *to, const byte *p) {
    int letter = hex(p + 2);
    p += 6;
    if (letter < 0) {
        return NULL;
    }
    if (letter >= 0xd800 && letter < 0xe000) {
        int low = letter < 0xdc00 && p[0] == '\\' && p[1] == 'u' ? hex(p + 2) : -1;
        if (low < 0xdc00 || low >= 0xe000) {
            return NULL;
        }
        letter = 0x10000 + ((letter - 0xd800) << 10) + (low - 0xdc00);
        p += 6;
    }
    if (letter < 0x80) {
        put(to, (byte)letter);
        return p;
    }
    int rest = letter < 0x800 ? 1 : letter < 0x10000 ? 2 : 3;
    static const byte FIRST[] = {0, 0xc0, 0xe0, 0xf0};
    put(to, (byte)(FIRST[rest] | letter >> 6 * rest));
    while (rest-- > 0) {
        put(to, (byte)(0x80 | (letter >> 6 * rest & 0x3f)));
    }
    return p;
}

static const byte *write_escape(struct carrying *to, const byte *p) {
    static const byte MEANT[256] = {
        ['"'] = '"', ['\\'] = '\\', ['/'] = '/', ['b'] = '\b', ['f'] = '\f', ['n'] = '\n', ['r'] = '\r', ['t'] = '\t',
    };
    if (p[1] == 'u') {
        return write_unicode(to, p);
    }
    if (!MEANT[p[1]]) {
        return NULL;
    }
    put(to, MEANT[p[1]]);
    return p + 2;
}

static void put_length(struct carrying *to, byte short_kind, uint32_t short_max, byte kind, uint32_t length) {
    if (length <= short_max) {
        put(to, (byte)(short_kind | length));
        return;
    }
    int power = short_max == 31 && length < 0x100 ? 0 : length < 0x10000 ? 1 : 2;
    put(to, (byte)(kind + power));
    put_big_endian(to, length, 1 << power);
}

#define LENGTH_SIZE_MAX 5

/* The bytes from `p` to the quote behind it, without what escapes stand for. */
static const byte *write_unescaped(struct carrying *to, const byte *p) {
    for (;;) {
        const byte *start = p;
        while (*p >= ' ' && *p != '"' && *p != '\\') {
            p++;
        }
        if (!HAS_ROOM(to->out, p - start + 4)) {
            return NULL;
        }
        put_bytes(to, start, (size_t)(p - start));
        if (*p == '"') {
            return p;
        }
        if (*p != '\\' || (p = write_escape(to, p)) == NULL) {
            return NULL;
        }
    }
}

static const byte *write_text(struct carrying *to, const byte *p) {
    const byte *start = ++p;
    byte all = 0;
    while (*p >= ' ' && *p != '"' && *p != '\\') {
        all |= *p++;
    }
    size_t size = (size_t)(p - start);
    if (!HAS_ROOM(to->out, size + LENGTH_SIZE_MAX)) {
        return NULL;
    }
    if (*p == '"' && all < 0x80) {
        put_length(to, 0xa0, 31, 0xd9, (uint32_t)size);
        put_bytes(to, start, size);
        return p + 1;
    }
    size_t before = to->out.count;
    to->out.count += LENGTH_SIZE_MAX;
    p = write_unescaped(to, start);
    if (p == NULL) {
        return NULL;
    }
    byte *text = to->out.start + before + LENGTH_SIZE_MAX;
    size = to->out.count - before - LENGTH_SIZE_MAX;
    to->out.count = before;
    put_length(to, 0xa0, 31, 0xd9, (uint32_t)size);
    memmove(to->out.start + to->out.count, text, size);
    text = to->out.start + to->out.count;
    to->out.count += size;
    return is_utf_8(text, text + size) ? p + 1 : NULL;
}

static const byte *write_word(struct carrying *to, const byte *p) {
    const char *word = *p == 't' ? "true" : *p == 'f' ? "false" : "null";
    size_t size = strlen(word);
    if (strncmp((const char *)p, word, size) != 0 || !HAS_ROOM(to->out, 1)) {
        return NULL;
    }
    put(to, *p == 't' ? 0xc3 : *p == 'f' ? 0xc2 : 0xc0);
    return p + size;
}

/* A key, the colon and the white space around it. */
static const byte *write_key(struct carrying *to, const byte *p) {
    size_t start = to->out.count;
    if (*p != '"' || (p = write_text(to, p)) == NULL || !is_noted(to, start)) {
        return NULL;
    }
    p = skip_space(p);
    return *p == ':' ? skip_space(p + 1) : NULL;
}

/* A bracket; what belongs in its place is known at the end. */
static const byte *write_opening(struct carrying *to, const byte *p) {
    byte is_object = *p == '{';
    p = skip_space(p + 1);
    if (*p == (is_object ? '}' : ']')) {
        if (!HAS_ROOM(to->out, 1)) {
            return NULL;
        }
        put(to, is_object ? 0x80 : 0x90);
        return p + 1;
    }
    if (!is_open(to, is_object, 0) || !HAS_ROOM(to->marks, 1)) {
        return NULL;
    }
    to->marks.start[to->marks.count++] = (struct mark){(uint32_t)to->out.count, 0, is_object};
    return is_object ? write_key(to, p) : p;
}

static const byte *write_value(struct carrying *to, const byte *p) {
    switch (*p) {
    case '{':
    case '[':
        return write_opening(to, p);
    case '"':
        return write_text(to, p);
    case 't':
    case 'f':
    case 'n':
        return write_word(to, p);
    default:
        return write_number(to, p);
    }
}

static int is_read(struct carrying *to, const byte *p, const byte *end) {
    p = skip_space(p);
    for (;;) {
        int depth = to->depth;
        p = write_value(to, p);
        if (p == NULL) {
            return 0;
        }
        if (to->depth > depth) {
            continue;
        }
        for (;;) {
            p = skip_space(p);
            if (to->depth == 0) {
                return p == end;
            }
            struct open *open = &to->open[to->depth - 1];
            open->count++;
            if (*p == ',') {
                p = skip_space(p + 1);
                break;
            }
            if (*p != (open->is_object ? '}' : ']')) {
                return 0;
            }
            to->marks.start[open->mark].count = open->count;
            if (!is_closed(to)) {
                return 0;
            }
            p++;
        }
        if (to->open[to->depth - 1].is_object && (p = write_key(to, p)) == NULL) {
            return 0;
        }
    }
}

/* What was written, with the head of each container where it belongs. */
static int is_headed(struct carrying *to) {
    struct carrying whole;
    size_t from = 0;
    memset(&whole.out, 0, sizeof whole.out);
    if (!HAS_ROOM(whole.out, to->out.count + LENGTH_SIZE_MAX * to->marks.count)) {
        return 0;
    }
    for (size_t i = 0; i < to->marks.count; i++) {
        struct mark mark = to->marks.start[i];
        put_bytes(&whole, to->out.start + from, mark.at - from);
        put_length(&whole, mark.is_object ? 0x80 : 0x90, 15, mark.is_object ? 0xdd : 0xdb, mark.count);
        from = mark.at;
    }
    put_bytes(&whole, to->out.start + from, to->out.count - from);
    PyMem_Free(to->out.start);
    to->out.start = whole.out.start;
    to->out.count = whole.out.count;
    return 1;
}

static int is_carried_to_msgpack(struct carrying *to, const byte *p, const byte *end) {
    size_t size = (size_t)(end - p);
    byte *text = PyMem_Malloc(size + 1);
    if (text == NULL) {
        return 0;
    }
    memcpy(text, p, size);
    text[size] = 0;
    int is_carried = is_read(to, text, text + size) && is_headed(to);
    PyMem_Free(text);
    return is_carried;
}

PyDoc_STRVAR(to_msgpack_doc, "to_msgpack(data)\n--\n\nSee _to_msgpack.pyi.");

static PyObject *to_msgpack(PyObject *module, PyObject *data) { return answer(data, is_carried_to_msgpack); }

static PyMethodDef methods[] = {
    {"to_msgpack", to_msgpack, METH_O, to_msgpack_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "taskferry.protocol._to_msgpack",
    .m_doc = "Carries a value from JSON to MessagePack.",
    .m_size = 0,
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit__to_msgpack(void) { return PyModuleDef_Init(&definition); }
