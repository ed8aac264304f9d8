/* Carries a value from JSON to MessagePack: see transcode.py, and _carrying.h for what is left to that.
 *
 * How many values a container has is known at its end, and belongs before them. So they are written without that, and
 * copied to where they belong at last.
 */

#include "_carrying.h"
#include "_closest.h"

/* Characters of an integer. msgspec refuses longer ones otherwise than those that are just over 64 bits. */
#define INTEGER_LENGTH_MAX 4300
/* Of a step from a container to a value in it, as msgspec writes it: an index has ten digits at most. */
#define STEP_LENGTH_MAX 12

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

/* Says that the value to be written is refused, and where it is, as msgspec does. */
static void refuse(struct carrying *to, const char *what) {
    char path[DEPTH_MAX * STEP_LENGTH_MAX + 1], *end = path;
    if (to->depth == 0) {
        PyErr_SetString(PyExc_ValueError, what);
        return;
    }
    *end = 0;
    for (int i = 0; i < to->depth; i++) {
        struct open *open = &to->open[i];
        end += open->is_object ? sprintf(end, "[...]") : sprintf(end, "[%lu]", (unsigned long)open->count);
    }
    PyErr_Format(PyExc_ValueError, "%s - at `$%s`", what, path);
}

static inline const byte *take_digits(const byte *p, struct digits *digits) {
    for (; is_digit(*p); p++) {
        uint64_t last = *p - '0';
        if (digits->cut_count == 0 && digits->number <= (UINT64_MAX - last) / 10) {
            digits->number = digits->number * 10 + last;
        } else {
            digits->cut_count++;
            digits->is_cut |= last != 0;
        }
    }
    return p;
}

static int is_written_whole(struct carrying *to, const struct digits *digits, int is_negative, size_t length) {
    is_negative = is_negative && digits->number;
    if (digits->cut_count == 0 && !(is_negative && digits->number > 1ULL << 63)) {
        put_integer(to, digits->number, is_negative);
        return 1;
    }
    if (length > INTEGER_LENGTH_MAX) {
        refuse(to, "Integer value out of range");
        return 0;
    }
    return is_marked(to, REFUSED);
}

/* The number from `start` to `end`, which has a point or an exponent: `digits` times 10 to the `power`. */
static int is_written_float(struct carrying *to, const byte *start, const byte *end, const struct digits *digits,
                            int64_t power) {
    double number;
    uint64_t bits;
    if (is_closest((const char *)start, digits, power, &number)) {
        number = *start == '-' ? -number : number;
    } else {
        char *text_end;
        number = PyOS_string_to_double((const char *)start, &text_end, NULL);
        if (text_end != (const char *)end || PyErr_Occurred()) {
            PyErr_Clear();
            return 0;
        }
    }
    if (!isfinite(number)) {
        refuse(to, "Number out of range");
        return 0;
    }
    memcpy(&bits, &number, sizeof bits);
    put(to, 0xcb);
    put_big_endian(to, bits, 8);
    return 1;
}

static const byte *write_number(struct carrying *to, const byte *p) {
    const byte *start = p;
    struct digits digits = {0, 0, 0};
    int64_t power = 0, exponent = 0;
    p += *p == '-';
    if (!is_digit(*p) || (*p == '0' && is_digit(p[1])) || !HAS_ROOM(to->out, 9)) {
        return NULL;
    }
    p = take_digits(p, &digits);
    if (*p != '.' && (*p | 0x20) != 'e') {
        return is_written_whole(to, &digits, *start == '-', (size_t)(p - start)) ? p : NULL;
    }
    power = digits.cut_count;
    if (*p == '.') {
        const byte *point = p;
        if (!is_digit(*++p)) {
            return NULL;
        }
        p = take_digits(p, &digits);
        power = digits.cut_count - (p - point - 1);
    }
    if ((*p | 0x20) == 'e') {
        p++;
        int is_negative = *p == '-';
        p += *p == '-' || *p == '+';
        if (!is_digit(*p)) {
            return NULL;
        }
        for (; is_digit(*p); p++) {
            exponent = exponent < 1LL << 32 ? exponent * 10 + (*p - '0') : exponent;
        }
        power += is_negative ? -exponent : exponent;
    }
    return is_written_float(to, start, p, &digits, power) ? p : NULL;
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
    if (!is_open(to, is_object, 0) || !is_marked(to, is_object ? OBJECT_MARK : LIST_MARK)) {
        return NULL;
    }
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
            if (!is_closed(to, "")) {
                return 0;
            }
            p++;
        }
        if (to->open[to->depth - 1].is_object && (p = write_key(to, p)) == NULL) {
            return 0;
        }
    }
}

static int is_headed(struct carrying *whole, const struct mark *mark) {
    if (mark->kind == REFUSED) {
        PyErr_SetString(PyExc_OverflowError, "an integer over 64 bits");
        return 0;
    }
    int is_object = mark->kind == OBJECT_MARK;
    put_length(whole, is_object ? 0x80 : 0x90, 15, is_object ? 0xdd : 0xdb, mark->count);
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
    int is_carried = is_read(to, text, text + size) && is_put_together(to, is_headed, "");
    PyMem_Free(text);
    return is_carried;
}

PyDoc_STRVAR(to_msgpack_doc, "to_msgpack(data)\n--\n\nSee _to_msgpack.pyi.");

static PyObject *to_msgpack(PyObject *module, PyObject *data) { return answer(data, is_carried_to_msgpack); }

static PyMethodDef methods[] = {
    {"to_msgpack", to_msgpack, METH_O, to_msgpack_doc},
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
    .m_name = "taskferry.protocol._to_msgpack",
    .m_doc = "Carries a value from JSON to MessagePack.",
    .m_size = 0,
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__to_msgpack(void) { return PyModuleDef_Init(&definition); }
