/* The common WebSocket frame, parsed and built at the speed of memory: the compiled twin of frames.py.
 *
 * Knows the layout of RFC 6455 (5.2) as far as frames.py says, does exactly what that file does, and replaces it if it
 * was built; the tests run both against each other. Keeps no reference to what it is passed.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#define HIGH_BITS 0x8080808080808080ULL

/* dst = src XOR key, with the key's four bytes repeated; all bytes of dst ORed together tell whether it is ASCII.
 * Eight bytes a step through memcpy, which compilers turn into plain or vector loads whatever the alignment. */
static uint64_t unmask(unsigned char *dst, const unsigned char *src, Py_ssize_t size, uint32_t key) {
    uint64_t key8 = ((uint64_t)key << 32) | key;
    uint64_t seen = 0;
    Py_ssize_t i = 0;
    for (; i + 8 <= size; i += 8) {
        uint64_t word;
        memcpy(&word, src + i, 8);
        word ^= key8;
        memcpy(dst + i, &word, 8);
        seen |= word;
    }
    const unsigned char *key_bytes = (const unsigned char *)&key;
    unsigned char rest = 0;
    for (; i < size; i++) {
        unsigned char byte = src[i] ^ key_bytes[i & 3];
        dst[i] = byte;
        rest |= byte;
    }
    return seen | rest;
}

static int is_utf8(const char *text, Py_ssize_t size) {
    PyObject *decoded = PyUnicode_DecodeUTF8(text, size, NULL);
    if (decoded == NULL) {
        PyErr_Clear();
        return 0;
    }
    Py_DECREF(decoded);
    return 1;
}

PyDoc_STRVAR(cut_frames_doc,
             "cut_frames(data, start, first_byte, mask_bit, size_bytes_max, is_text, messages)\n--\n\n"
             "See frames.py.");

static PyObject *cut_frames(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    if (count != 7) {
        PyErr_SetString(PyExc_TypeError, "cut_frames takes 7 arguments");
        return NULL;
    }
    Py_ssize_t position = PyLong_AsSsize_t(args[1]);
    long first_byte = PyLong_AsLong(args[2]);
    long mask_bit = PyLong_AsLong(args[3]);
    Py_ssize_t size_max = PyLong_AsSsize_t(args[4]);
    int is_text = PyObject_IsTrue(args[5]);
    PyObject *messages = args[6];
    if (PyErr_Occurred()) {
        return NULL;
    }
    if (!PyList_CheckExact(messages) || position < 0) {
        PyErr_SetString(PyExc_TypeError, "cut_frames takes a position from 0 up, and a list");
        return NULL;
    }
    Py_buffer view;
    if (PyObject_GetBuffer(args[0], &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    const unsigned char *data = view.buf;
    Py_ssize_t size = view.len;
    Py_ssize_t key_size = mask_bit ? 4 : 0;
    while (size - position >= 2 && data[position] == first_byte) {
        const unsigned char *frame = data + position;
        Py_ssize_t left = size - position;
        uint64_t length = frame[1] ^ (unsigned char)mask_bit;
        Py_ssize_t head_size = 2 + key_size;
        if (length == 126) {
            if (left < 4) {
                break;
            }
            length = (uint64_t)frame[2] << 8 | frame[3];
            head_size += 2;
        } else if (length == 127) {
            if (left < 10) {
                break;
            }
            length = 0;
            for (int i = 2; i < 10; i++) {
                length = length << 8 | frame[i];
            }
            head_size += 8;
        } else if (length > 127) {
            break; /* the mask bit is wrong for the role */
        }
        if (length > (uint64_t)size_max || (uint64_t)left < (uint64_t)head_size + length) {
            break;
        }
        PyObject *payload = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)length);
        if (payload == NULL) {
            goto failed;
        }
        uint32_t key = 0;
        if (mask_bit) {
            memcpy(&key, frame + head_size - 4, 4);
        }
        unsigned char *body = (unsigned char *)PyBytes_AS_STRING(payload);
        uint64_t seen = unmask(body, frame + head_size, (Py_ssize_t)length, key);
        if (is_text && (seen & HIGH_BITS) && !is_utf8((char *)body, (Py_ssize_t)length)) {
            Py_DECREF(payload);
            break;
        }
        int failure = PyList_Append(messages, payload);
        Py_DECREF(payload);
        if (failure) {
            goto failed;
        }
        position += head_size + (Py_ssize_t)length;
    }
    PyBuffer_Release(&view);
    return PyLong_FromSsize_t(position);
failed:
    PyBuffer_Release(&view);
    return NULL;
}

PyDoc_STRVAR(masked_frame_doc, "masked_frame(first_byte, payload, key)\n--\n\nSee frames.py.");

static PyObject *masked_frame(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    if (count != 3 || !PyBytes_CheckExact(args[1]) || !PyBytes_CheckExact(args[2]) ||
        PyBytes_GET_SIZE(args[2]) != 4) {
        PyErr_SetString(PyExc_TypeError, "masked_frame takes a byte, the payload and four bytes of key");
        return NULL;
    }
    long first_byte = PyLong_AsLong(args[0]);
    if (first_byte == -1 && PyErr_Occurred()) {
        return NULL;
    }
    const unsigned char *payload = (const unsigned char *)PyBytes_AS_STRING(args[1]);
    Py_ssize_t size = PyBytes_GET_SIZE(args[1]);
    Py_ssize_t head_size = (size < 126 ? 2 : size < 65536 ? 4 : 10) + 4;
    PyObject *frame = PyBytes_FromStringAndSize(NULL, head_size + size);
    if (frame == NULL) {
        return NULL;
    }
    unsigned char *bytes = (unsigned char *)PyBytes_AS_STRING(frame);
    bytes[0] = (unsigned char)first_byte;
    if (size < 126) {
        bytes[1] = (unsigned char)(0x80 | size);
    } else if (size < 65536) {
        bytes[1] = 0x80 | 126;
        bytes[2] = (unsigned char)(size >> 8);
        bytes[3] = (unsigned char)size;
    } else {
        bytes[1] = 0x80 | 127;
        for (int i = 0; i < 8; i++) {
            bytes[2 + i] = (unsigned char)((uint64_t)size >> (56 - 8 * i));
        }
    }
    uint32_t key;
    memcpy(&key, PyBytes_AS_STRING(args[2]), 4);
    memcpy(bytes + head_size - 4, &key, 4);
    unmask(bytes + head_size, payload, size, key);
    return frame;
}

/* LargeFrame of frames.py. */
typedef struct {
    PyObject_HEAD
    PyObject *payload; /* filled up to `filled_size`; NULL once it was returned */
    Py_ssize_t size, filled_size;
    uint32_t key;
    uint64_t seen;
} LargeFrame;

static PyObject *large_frame_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    Py_ssize_t size;
    const char *key;
    Py_ssize_t key_size;
    if (!PyArg_ParseTuple(args, "ny#:LargeFrame", &size, &key, &key_size)) {
        return NULL;
    }
    if (size < 0 || (key_size != 0 && key_size != 4)) {
        PyErr_SetString(PyExc_ValueError, "a LargeFrame has a size from 0 up, and a key of four bytes or none");
        return NULL;
    }
    LargeFrame *self = (LargeFrame *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->payload = PyBytes_FromStringAndSize(NULL, size);
    if (self->payload == NULL) {
        Py_DECREF(self);
        return NULL;
    }
    self->size = size;
    memcpy(&self->key, key, (size_t)key_size);
    return (PyObject *)self;
}

static void large_frame_dealloc(LargeFrame *self) {
    PyTypeObject *type = Py_TYPE(self);
    Py_XDECREF(self->payload);
    type->tp_free(self);
    Py_DECREF(type);
}

PyDoc_STRVAR(large_frame_take_doc, "take(data, start)\n--\n\nSee frames.py.");

static PyObject *large_frame_take(LargeFrame *self, PyObject *const *args, Py_ssize_t count) {
    Py_ssize_t start = count == 2 ? PyLong_AsSsize_t(args[1]) : -1;
    if (start < 0 || self->payload == NULL) {
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_TypeError, "take takes bytes and a position from 0 up, until the payload is handed out");
        }
        return NULL;
    }
    Py_buffer view;
    if (PyObject_GetBuffer(args[0], &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    Py_ssize_t taken_size = view.len > start ? view.len - start : 0;
    if (taken_size > self->size - self->filled_size) {
        taken_size = self->size - self->filled_size;
    }
    unsigned char turned[4]; /* the key, from where this piece begins in the payload */
    for (int i = 0; i < 4; i++) {
        turned[i] = ((const unsigned char *)&self->key)[(self->filled_size + i) & 3];
    }
    uint32_t key;
    memcpy(&key, turned, 4);
    unsigned char *body = (unsigned char *)PyBytes_AS_STRING(self->payload) + self->filled_size;
    self->seen |= unmask(body, (const unsigned char *)view.buf + start, taken_size, key);
    self->filled_size += taken_size;
    PyBuffer_Release(&view);
    return PyLong_FromSsize_t(start + taken_size);
}

PyDoc_STRVAR(large_frame_payload_doc, "payload()\n--\n\nSee frames.py.");

static PyObject *large_frame_payload(LargeFrame *self, PyObject *ignored) {
    if (self->payload == NULL || self->filled_size < self->size) {
        PyErr_SetString(PyExc_ValueError, "the payload is handed out once, when it is whole");
        return NULL;
    }
    PyObject *payload = self->payload;
    self->payload = NULL;
    return payload;
}

static PyObject *large_frame_missing_size(LargeFrame *self, void *ignored) {
    return PyLong_FromSsize_t(self->size - self->filled_size);
}

static PyObject *large_frame_is_ascii(LargeFrame *self, void *ignored) {
    return PyBool_FromLong((self->seen & HIGH_BITS) == 0);
}

static PyMethodDef large_frame_methods[] = {
    {"take", (PyCFunction)(void (*)(void))large_frame_take, METH_FASTCALL, large_frame_take_doc},
    {"payload", (PyCFunction)large_frame_payload, METH_NOARGS, large_frame_payload_doc},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef large_frame_properties[] = {
    {"missing_size", (getter)large_frame_missing_size, NULL, "See frames.py.", NULL},
    {"is_ascii", (getter)large_frame_is_ascii, NULL, "See frames.py.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot large_frame_slots[] = {
    {Py_tp_doc, "LargeFrame(size, key)\n--\n\nSee frames.py."},
    {Py_tp_new, large_frame_new},
    {Py_tp_dealloc, large_frame_dealloc},
    {Py_tp_methods, large_frame_methods},
    {Py_tp_getset, large_frame_properties},
    {0, NULL},
};

static PyType_Spec large_frame_spec = {
    .name = "taskferry.transport._frames.LargeFrame",
    .basicsize = sizeof(LargeFrame),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = large_frame_slots,
};

static int add_large_frame(PyObject *module) {
    PyObject *type = PyType_FromModuleAndSpec(module, &large_frame_spec, NULL);
    if (type == NULL) {
        return -1;
    }
    int failure = PyModule_AddType(module, (PyTypeObject *)type);
    Py_DECREF(type);
    return failure;
}

static PyMethodDef methods[] = {
    {"cut_frames", (PyCFunction)(void (*)(void))cut_frames, METH_FASTCALL, cut_frames_doc},
    {"masked_frame", (PyCFunction)(void (*)(void))masked_frame, METH_FASTCALL, masked_frame_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, add_large_frame},
    {0, NULL},
};

static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "taskferry.transport._frames",
    .m_doc = "The compiled twin of taskferry.transport.frames.",
    .m_size = 0,
    .m_methods = methods,
    .m_slots = module_slots,
};

PyMODINIT_FUNC PyInit__frames(void) { return PyModuleDef_Init(&definition); }
