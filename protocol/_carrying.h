/* What both ways from one encoding to the other need: what is written, the containers that are open, and their keys.
 *
 * Makes no object of Python for a part of a value, which is what takes time. What is not taken (anything invalid, or
 * without a counterpart, or rare) is no error, but left to transcode.py: so each answer is the one given there. Keeps no
 * state and no hold of what it is given.
 */

#ifndef TASKFERRY_CARRYING_H
#define TASKFERRY_CARRYING_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

typedef unsigned char byte;

/* Containers inside each other; an empty one does not count. */
#define DEPTH_MAX 256
/* Of a value. What becomes of it, at most six times as long, is counted in 32 bits. */
#define SIZE_BYTES_MAX (1 << 28)
/* Keys that are compared with each other, before it pays to make a table of them. */
#define KEYS_COMPARED_MAX 8
/* Places of the table that are looked at for one key. */
#define PROBES_MAX 32

/* A key of an object that is open, as it was written. */
struct key {
    uint32_t start, size;
};

/* A container that is open. */
struct open {
    uint32_t count; /* of its values: yet to come in MessagePack, seen in JSON */
    uint32_t mark, keys_count_before;
    byte is_object;
};

/* Where in what is written the head of a container belongs, which says how many values there are. */
struct mark {
    uint32_t at, count;
    byte is_object;
};

/* What grows: `count` are used of the `room` elements at `start`. */
#define LIST(type) struct { type *start; size_t count, room; }

struct carrying {
    LIST(byte) out;
    LIST(struct key) keys;
    LIST(struct mark) marks;
    LIST(uint32_t) table;
    int depth, slow_numbers_count;
    struct open open[DEPTH_MAX];
};

static int grow(void **start, size_t *room, size_t needed, size_t size) {
    size_t larger = needed < 128 ? 256 : 2 * needed;
    void *moved = PyMem_Realloc(*start, larger * size);
    if (moved == NULL) {
        return 0;
    }
    *start = moved;
    *room = larger;
    return 1;
}

/* Whether there is room for `more` elements. Without memory, as with all that cannot be taken, the answer is no. */
#define HAS_ROOM(list, more)                                                                                            \
    ((list).room - (list).count >= (size_t)(more) ||                                                                    \
     grow((void **)&(list).start, &(list).room, (list).count + (size_t)(more), sizeof *(list).start))

/* These take what there is room for. */
static inline void put(struct carrying *to, byte c) { to->out.start[to->out.count++] = c; }

static inline void put_bytes(struct carrying *to, const void *bytes, size_t size) {
    memcpy(to->out.start + to->out.count, bytes, size);
    to->out.count += size;
}

static int is_utf_8(const byte *p, const byte *end) {
    while (p < end) {
        byte first = *p, low = 0x80, high = 0xbf;
        if (first < 0x80) {
            p++;
            continue;
        }
        int rest = first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
        if (first < 0xc2 || first > 0xf4 || end - p <= rest) {
            return 0;
        }
        low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : low; /* or it could be written shorter */
        high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : high; /* or it were half a surrogate pair, or no letter */
        if (p[1] < low || p[1] > high) {
            return 0;
        }
        for (int i = 2; i <= rest; i++) {
            if ((p[i] & 0xc0) != 0x80) {
                return 0;
            }
        }
        p += rest + 1;
    }
    return 1;
}

static int is_open(struct carrying *to, byte is_object, uint32_t count) {
    if (to->depth == DEPTH_MAX) {
        return 0;
    }
    to->open[to->depth++] = (struct open){count, (uint32_t)to->marks.count, (uint32_t)to->keys.count, is_object};
    return 1;
}

/* Notes as a key what was written from `start` on. */
static int is_noted(struct carrying *to, size_t start) {
    if (!HAS_ROOM(to->keys, 1)) {
        return 0;
    }
    to->keys.start[to->keys.count++] = (struct key){(uint32_t)start, (uint32_t)(to->out.count - start)};
    return 1;
}

static inline int is_same(struct carrying *to, struct key one, struct key other) {
    return one.size == other.size && memcmp(to->out.start + one.start, to->out.start + other.start, one.size) == 0;
}

static uint64_t hash_of(const byte *p, size_t size) {
    uint64_t hash = size, word;
    for (; size >= 8; p += 8, size -= 8) {
        memcpy(&word, p, 8);
        hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
        hash ^= hash >> 32;
    }
    word = 0;
    memcpy(&word, p, size);
    hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
    return hash ^ hash >> 32;
}

/* Whether the keys of a large object are different, by a table of them; no also if too many fall on one place. */
static int are_different_by_table(struct carrying *to, const struct key *keys, size_t count) {
    size_t room = 32;
    while (room < 4 * count) {
        room *= 2;
    }
    if (!HAS_ROOM(to->table, room)) {
        return 0;
    }
    uint32_t *table = to->table.start; /* from 1: the number of the key at this place */
    memset(table, 0, room * sizeof *table);
    for (size_t i = 0; i < count; i++) {
        size_t place = (size_t)hash_of(to->out.start + keys[i].start, keys[i].size);
        int probes_count = 0;
        while (table[place &= room - 1]) {
            if (is_same(to, keys[table[place] - 1], keys[i]) || ++probes_count == PROBES_MAX) {
                return 0;
            }
            place++;
        }
        table[place] = (uint32_t)i + 1;
    }
    return 1;
}

/* Takes the last container to be open for closed. Of a key that comes twice only the last value counts: no then. */
static int is_closed(struct carrying *to) {
    size_t before = to->open[--to->depth].keys_count_before, count = to->keys.count - before;
    const struct key *keys = to->keys.start + before;
    to->keys.count = before;
    if (count > KEYS_COMPARED_MAX) {
        return are_different_by_table(to, keys, count);
    }
    for (size_t i = 1; i < count; i++) {
        for (size_t j = 0; j < i; j++) {
            if (is_same(to, keys[i], keys[j])) {
                return 0;
            }
        }
    }
    return 1;
}

/* What was carried, or None, from what a function of a module is called with. */
typedef int (*carrier)(struct carrying *, const byte *, const byte *);

static PyObject *answer(PyObject *data, carrier carry) {
    Py_buffer buffer;
    struct carrying to;
    PyObject *carried = NULL;
    if (PyObject_GetBuffer(data, &buffer, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    memset(&to, 0, sizeof to);
    const byte *start = buffer.buf;
    if (buffer.len <= SIZE_BYTES_MAX && carry(&to, start, start + buffer.len)) {
        carried = PyBytes_FromStringAndSize((const char *)to.out.start, (Py_ssize_t)to.out.count);
    } else {
        carried = Py_NewRef(Py_None);
    }
    PyBuffer_Release(&buffer);
    PyMem_Free(to.out.start);
    PyMem_Free(to.keys.start);
    PyMem_Free(to.marks.start);
    PyMem_Free(to.table.start);
    return carried;
}

#endif
