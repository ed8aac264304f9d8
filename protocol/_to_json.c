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

/* Values that are refused. */
enum { BYTES = REFUSED, TIMESTAMP, BYTES_KEY, NOT_FINITE };

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

/* With a point; or, from four zeros behind it or over 16 digits before it, with an exponent: as Python writes it. */
static void put_decimal(struct carrying *to, struct decimal decimal) {
    byte text[20];
    int at = sizeof text;
    do {
        text[--at] = (byte)('0' + decimal.digits % 10);
        decimal.digits /= 10;
    } while (decimal.digits);
    const byte *digits = text + at;
    int count = (int)sizeof text - at, point = count + decimal.power; /* digits before the point */
    if (point <= -4 || point > 16) {
        put(to, digits[0]);
        if (count > 1) {
            put(to, '.');
            put_bytes(to, digits + 1, (size_t)count - 1);
        }
        int exponent = point - 1, size = exponent < 0 ? -exponent : exponent;
        put(to, 'e');
        put(to, exponent < 0 ? '-' : '+');
        if (size >= 100) {
            put(to, (byte)('0' + size / 100));
        }
        put(to, (byte)('0' + size / 10 % 10));
        put(to, (byte)('0' + size % 10));
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
    if (!isfinite(number)) {
        return is_marked(to, NOT_FINITE);
    }
    if (!HAS_ROOM(to->out, FLOAT_LENGTH_MAX)) {
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
    if (all >= 0x80 && !is_utf_8(end - size, end)) {
        Py_XDECREF(PyUnicode_DecodeUTF8((const char *)end - size, (Py_ssize_t)size, NULL)); /* raises what is wrong */
        return NULL;
    }
    return end;
}

/* How many bytes behind the first one say how long a text, a list or a map is; or binary, or an extension type. */
static inline int length_size(byte kind) {
    switch (kind) {
    case 0xc4:
    case 0xc7:
    case 0xd9:
        return 1;
    case 0xc5:
    case 0xc8:
    case 0xda:
    case 0xdc:
    case 0xde:
        return 2;
    case 0xc6:
    case 0xc9:
    case 0xdb:
    case 0xdd:
    case 0xdf:
        return 4;
    default:
        return 0;
    }
}

static inline int is_container(byte kind) { return (kind >= 0x80 && kind < 0xa0) || (kind >= 0xdc && kind <= 0xdf); }

static inline int is_binary(byte kind) { return kind >= 0xc4 && kind <= 0xc6; }

static inline int is_extension(byte kind) { return (kind >= 0xc7 && kind <= 0xc9) || (kind >= 0xd4 && kind <= 0xd8); }

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

/* Whether the content of a timestamp is one. */
static int is_timestamp(const byte *p, size_t size) {
    uint64_t nanoseconds = size == 8 ? big_endian(p, 4) >> 2 : size == 12 ? big_endian(p, 4) : 0;
    if (size != 4 && size != 8 && size != 12) {
        PyErr_Format(PyExc_ValueError, "invalid timestamp data (length %zu)", size);
        return 0;
    }
    if (nanoseconds > 999999999) {
        PyErr_SetString(PyExc_ValueError, "nanoseconds must be a non-negative integer not greater than 999999999.");
        return 0;
    }
    return 1;
}

/* Binary, or an extension type: JSON has neither. Sets `kind` to what it is. */
static const byte *skip_binary(const byte *p, const byte *end, uint32_t *kind) {
    byte first = *p;
    int size = length_size(first), is_typed = is_extension(first);
    if (end - p <= size + is_typed) {
        return NULL;
    }
    size_t length = size ? (size_t)big_endian(p + 1, size) : (size_t)1 << (first - 0xd4);
    p += 1 + size + is_typed;
    if ((size_t)(end - p) < length) {
        return NULL;
    }
    if (is_typed && p[-1] >= 0x80 && p[-1] < 0xff) {
        PyErr_SetString(PyExc_ValueError, "code must be 0~127"); /* below 0, there is only that of timestamps */
        return NULL;
    }
    *kind = is_typed && p[-1] == 0xff ? TIMESTAMP : BYTES;
    return *kind == BYTES || is_timestamp(p, length) ? p + length : NULL;
}

/* A value that is no container. */
static const byte *write_json_scalar(struct carrying *to, const byte *p, const byte *end) {
    if (is_text(*p)) {
        return write_text_of(to, p, end);
    }
    if (is_binary(*p) || is_extension(*p)) {
        uint32_t kind;
        p = skip_binary(p, end, &kind);
        return p != NULL && is_marked(to, kind) ? p : NULL;
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

/* The name of what is no key, as msgpack knows it. */
static const char *type_name(byte kind) {
    if (is_container(kind)) {
        return (kind & 0xf0) == 0x80 || kind >= 0xde ? "dict" : "list";
    }
    if (is_extension(kind)) {
        return "ExtType";
    }
    if (kind == 0xc0) {
        return "NoneType";
    }
    return kind == 0xc2 || kind == 0xc3 ? "bool" : kind == 0xca || kind == 0xcb ? "float" : "int";
}

/* What is no text in the place of a key: binary is refused with what is in the object, anything else at once. */
static const byte *write_no_key(struct carrying *to, const byte *p, const byte *end) {
    byte first = *p;
    uint32_t kind = REFUSED;
    if (is_binary(first)) {
        size_t start = to->out.count;
        p = skip_binary(p, end, &kind);
        if (p == NULL || !HAS_ROOM(to->out, 1)) {
            return NULL;
        }
        put(to, 0xff); /* which no text has */
        return is_noted(to, start) && is_marked(to, BYTES_KEY) ? p : NULL;
    }
    p = is_container(first) ? p : is_extension(first) ? skip_binary(p, end, &kind) : write_json_scalar(to, p, end);
    if (p != NULL) {
        PyErr_Format(PyExc_ValueError, "%s is not allowed for map key when strict_map_key=True",
                     kind == TIMESTAMP ? "Timestamp" : type_name(first));
    }
    return NULL;
}

/* A key with its colon, if one must come here. */
static const byte *write_json_key(struct carrying *to, const byte *p, const byte *end) {
    if (!to->open[to->depth - 1].is_object) {
        return p;
    }
    if (p < end && !is_text(*p)) {
        return write_no_key(to, p, end);
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
    if (count > (size_t)(end - p) >> is_object) {
        return NULL; /* there are not that many bytes */
    }
    put(to, is_object ? '{' : '[');
    if (count == 0) {
        put(to, is_object ? '}' : ']');
        return p;
    }
    if (!is_open(to, is_object, count) || (is_object && !is_marked(to, OBJECT_MARK))) {
        return NULL;
    }
    return write_json_key(to, p, end);
}

/* Takes the last container to be open for closed. The mark of an object with no key twice is needed no longer. */
static int is_closed_in_json(struct carrying *to) {
    struct open *open = &to->open[to->depth - 1];
    byte closing = open->is_object ? '}' : ']';
    if (!is_closed(to, ",") || !HAS_ROOM(to->out, 1)) {
        return 0;
    }
    if (open->is_object && open->mark + 1 == to->marks.count && !to->marks.start[open->mark].twice) {
        to->marks.count--;
    }
    put(to, closing);
    return 1;
}

/* Nothing belongs in the place of a mark, unless it is that of a value that is refused. */
static int is_allowed(struct carrying *whole, const struct mark *mark) {
    static const char *const WHY[] = {
        [BYTES - REFUSED] = "Object of type bytes is not JSON serializable",
        [TIMESTAMP - REFUSED] = "Object of type Timestamp is not JSON serializable",
        [BYTES_KEY - REFUSED] = "keys must be str, int, float, bool or None, not bytes",
        [NOT_FINITE - REFUSED] = "Out of range float values are not JSON compliant",
    };
    (void)whole;
    if (mark->kind >= REFUSED) {
        PyErr_SetString(PyExc_ValueError, WHY[mark->kind - REFUSED]);
        return 0;
    }
    return 1;
}

/* Puts together what was written, if it is not as it should be. */
static int is_whole(struct carrying *to) {
    return (to->twice.count == 0 && to->refused_count == 0) || is_put_together(to, is_allowed, ",");
}

static int is_carried_to_json(struct carrying *to, const byte *p, const byte *end) {
    while (p != NULL && p < end) {
        int depth = to->depth;
        if (is_container(*p)) {
            p = write_json_opening(to, p, end);
        } else {
            p = write_json_scalar(to, p, end);
        }
        if (p == NULL || to->depth > depth) {
            continue;
        }
        while (to->depth > 0 && --to->open[to->depth - 1].count == 0) {
            if (!is_closed_in_json(to)) {
                return 0;
            }
        }
        if (to->depth == 0) {
            return p == end && is_whole(to);
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

static int start(PyObject *module) {
    (void)module;
    find_powers();
    return 0;
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, start},
    {0, NULL},
};

static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "taskferry.protocol._to_json",
    .m_doc = "Carries a value from MessagePack to JSON.",
    .m_size = 0,
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__to_json(void) { return PyModuleDef_Init(&definition); }
