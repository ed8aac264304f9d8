/* Carries a value from MessagePack to JSON: see transcode.py, and _carrying.h for what is left to that. */

#include "_carrying.h"
#include "_shortest.h"

#include <math.h>

static inline uint64_t big_endian(const byte *p, int size) {
    uint64_t number = 0;
    for (int i = 0; i < size; i++) {
        number = number << 8 | p[i];
    }
    return number;
}

/* All `write_...` below take where something begins and give where it ends, or NULL if it is not that, or not to be
 * carried. */

static int is_written_integer(struct carrying *to, uint64_t number, int is_negative) {
    byte digits[20];
    int at = sizeof digits;
    if (!HAS_ROOM(to->out, sizeof digits + 1)) {
        return 0;
    }
    if (is_negative) {
        put(to, '-');
        number = 0 - number;
    }
    do {
        digits[--at] = (byte)('0' + number % 10);
        number /= 10;
    } while (number);
    put_bytes(to, digits + at, sizeof digits - (size_t)at);
    return 1;
}

static int is_written_signed(struct carrying *to, int64_t number) {
    return is_written_integer(to, (uint64_t)number, number < 0);
}

static void put_zeros(struct carrying *to, int count) {
    while (count-- > 0) {
        put(to, '0');
    }
}

/* With a point, or from four zeros behind it with an exponent, as Python writes it. */
static void put_decimal(struct carrying *to, struct decimal decimal) {
    byte text[20];
    int at = sizeof text;
    do {
        text[--at] = (byte)('0' + decimal.digits % 10);
        decimal.digits /= 10;
    } while (decimal.digits);
    const byte *digits = text + at;
    int count = (int)sizeof text - at, point = count + decimal.power; /* digits before the point */
    if (point <= -4) {
        put(to, digits[0]);
        if (count > 1) {
            put(to, '.');
            put_bytes(to, digits + 1, (size_t)count - 1);
        }
        put_bytes(to, "e-", 2);
        put(to, (byte)('0' + (1 - point) / 10));
        put(to, (byte)('0' + (1 - point) % 10));
        return;
    }
    int before = point < 0 ? 0 : point < count ? point : count;
    put_bytes(to, digits, (size_t)before);
    put_zeros(to, point <= 0 ? 1 : point - before);
    put(to, '.');
    put_zeros(to, -point);
    put_bytes(to, digits + before, (size_t)(count - before));
    put_zeros(to, count == before);
}

/* Of a float as Python writes it; it is 24. */
#define FLOAT_LENGTH_MAX 32

/* As Python writes it: the shortest that is read as the same number again. */
static int is_written_float(struct carrying *to, double number) {
    struct decimal decimal = {0, 0};
    if (!isfinite(number) || !HAS_ROOM(to->out, FLOAT_LENGTH_MAX)) {
        return 0;
    }
    if (number == 0 || is_shortest(fabs(number), &decimal)) {
        if (signbit(number)) {
            put(to, '-');
        }
        put_decimal(to, decimal);
        return 1;
    }
    char *text = PyOS_double_to_string(number, 'r', 0, Py_DTSF_ADD_DOT_0, NULL);
    if (text == NULL) {
        PyErr_Clear();
        return 0;
    }
    put_bytes(to, text, strlen(text));
    PyMem_Free(text);
    return 1;
}

static int is_written_float_of(struct carrying *to, const byte *p, int size) {
    uint64_t bits = big_endian(p, size);
    if (size == 4) {
        uint32_t low = (uint32_t)bits;
        float number;
        memcpy(&number, &low, sizeof number);
        return is_written_float(to, number);
    }
    double number;
    memcpy(&number, &bits, sizeof number);
    return is_written_float(to, number);
}

/* What is written behind a backslash: 'u' is followed by the number of the letter. */
static const byte ESCAPED[256] = {
    [0] = 'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u', 'b', 't', 'n', 'u', 'f', 'r', 'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u',
    'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u', ['"'] = '"', ['\\'] = '\\',
};

static const byte *write_json_text(struct carrying *to, const byte *p, size_t size) {
    const byte *end = p + size;
    byte all = 0;
    if (!HAS_ROOM(to->out, size + 2)) {
        return NULL;
    }
    put(to, '"');
    while (p < end) {
        const byte *start = p;
        while (p < end && !ESCAPED[*p]) {
            all |= *p++;
        }
        if (!HAS_ROOM(to->out, end - start + 7)) {
            return NULL;
        }
        put_bytes(to, start, (size_t)(p - start));
        if (p == end) {
            break;
        }
        put(to, '\\');
        put(to, ESCAPED[*p]);
        if (ESCAPED[*p] == 'u') {
            put(to, '0');
            put(to, '0');
            put(to, *p < 16 ? '0' : '1');
            put(to, (byte)"0123456789abcdef"[*p & 15]);
        }
        p++;
    }
    put(to, '"');
    return all < 0x80 || is_utf_8(end - size, end) ? end : NULL;
}

/* How many bytes behind the first one say how long a text, a list or a map is. */
static inline int length_size(byte kind) {
    switch (kind) {
    case 0xd9:
        return 1;
    case 0xda:
    case 0xdc:
    case 0xde:
        return 2;
    case 0xdb:
    case 0xdd:
    case 0xdf:
        return 4;
    default:
        return 0;
    }
}

static inline int is_text(byte kind) { return (kind & 0xe0) == 0xa0 || (kind >= 0xd9 && kind <= 0xdb); }

static const byte *write_text_of(struct carrying *to, const byte *p, const byte *end) {
    if (p >= end || !is_text(*p)) {
        return NULL;
    }
    int size = length_size(*p);
    if (end - p <= size) {
        return NULL;
    }
    size_t length = size ? (size_t)big_endian(p + 1, size) : *p & 0x1f;
    p += 1 + size;
    return (size_t)(end - p) < length ? NULL : write_json_text(to, p, length);
}

/* A number. */
static const byte *write_number_of(struct carrying *to, const byte *p, const byte *end) {
    static const byte SIZES[16] = {[0xa] = 4, 8, 1, 2, 4, 8}, SIGNED_SIZES[4] = {1, 2, 4, 8};
    byte kind = *p++;
    if (kind < 0x80 || kind >= 0xe0) {
        return is_written_signed(to, (int8_t)kind) ? p : NULL;
    }
    int size = kind >= 0xca && kind <= 0xcf ? SIZES[kind & 15] : kind >= 0xd0 && kind <= 0xd3 ? SIGNED_SIZES[kind & 3] : 0;
    if (size == 0 || end - p < size) {
        return NULL;
    }
    int is_written;
    if (kind <= 0xcb) {
        is_written = is_written_float_of(to, p, size);
    } else if (kind <= 0xcf) {
        is_written = is_written_integer(to, big_endian(p, size), 0);
    } else {
        uint64_t sign = 1ULL << (8 * size - 1);
        is_written = is_written_signed(to, (int64_t)((big_endian(p, size) ^ sign) - sign));
    }
    return is_written ? p + size : NULL;
}

/* A value that is no container. */
static const byte *write_json_scalar(struct carrying *to, const byte *p, const byte *end) {
    if (is_text(*p)) {
        return write_text_of(to, p, end);
    }
    const char *word = *p == 0xc0 ? "null" : *p == 0xc2 ? "false" : *p == 0xc3 ? "true" : NULL;
    if (word == NULL) {
        return write_number_of(to, p, end);
    }
    if (!HAS_ROOM(to->out, 5)) {
        return NULL;
    }
    put_bytes(to, word, strlen(word));
    return p + 1;
}

/* Whether a key, if one must come here, was carried with its colon. */
static const byte *write_json_key(struct carrying *to, const byte *p, const byte *end) {
    if (!to->open[to->depth - 1].is_object) {
        return p;
    }
    size_t start = to->out.count;
    p = write_text_of(to, p, end);
    if (p == NULL || !is_noted(to, start) || !HAS_ROOM(to->out, 1)) {
        return NULL;
    }
    put(to, ':');
    return p;
}

/* The first byte of a list or a map, and how many values it has. */
static const byte *write_json_opening(struct carrying *to, const byte *p, const byte *end) {
    int size = length_size(*p);
    byte is_object = *p < 0x90 || *p >= 0xde;
    if (end - p <= size || !HAS_ROOM(to->out, 2)) {
        return NULL;
    }
    uint32_t count = size ? (uint32_t)big_endian(p + 1, size) : *p & 0x0f;
    p += 1 + size;
    put(to, is_object ? '{' : '[');
    if (count == 0) {
        put(to, is_object ? '}' : ']');
        return p;
    }
    return is_open(to, is_object, count) ? write_json_key(to, p, end) : NULL;
}

static int is_carried_to_json(struct carrying *to, const byte *p, const byte *end) {
    while (p != NULL && p < end) {
        int depth = to->depth;
        if ((*p >= 0x80 && *p < 0xa0) || (*p >= 0xdc && *p <= 0xdf)) {
            p = write_json_opening(to, p, end);
        } else {
            p = write_json_scalar(to, p, end);
        }
        if (p == NULL || to->depth > depth) {
            continue;
        }
        while (to->depth > 0 && --to->open[to->depth - 1].count == 0) {
            byte closing = to->open[to->depth - 1].is_object ? '}' : ']';
            if (!is_closed(to) || !HAS_ROOM(to->out, 1)) {
                return 0;
            }
            put(to, closing);
        }
        if (to->depth == 0) {
            return p == end;
        }
        if (!HAS_ROOM(to->out, 1)) {
            return 0;
        }
        put(to, ',');
        p = write_json_key(to, p, end);
    }
    return 0;
}

PyDoc_STRVAR(to_json_doc, "to_json(data)\n--\n\nSee _to_json.pyi.");

static PyObject *to_json(PyObject *module, PyObject *data) { return answer(data, is_carried_to_json); }

static PyMethodDef methods[] = {
    {"to_json", to_json, METH_O, to_json_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "taskferry.protocol._to_json",
    .m_doc = "Carries a value from MessagePack to JSON.",
    .m_size = 0,
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit__to_json(void) { return PyModuleDef_Init(&definition); }
