/* place_int.h: what the units share that find where a tensor stands (place_tensor.c). */
#ifndef MQ_PLACE_INT_H
#define MQ_PLACE_INT_H

#include "assembly.h"
#include "place_tensor.h"

struct mq_placing {
    struct mq_view *view;
    const struct mq_tensor_set *set;
    const char *name; /* without what the form adds */
    const struct mq_tensor_alias *alias;
    const struct mq_located *at; /* the tensor of weights or codes */
    struct mq_tensor *t;
    moeq_error *err;
};

/* How matrices share a tensor. */
struct mq_part {
    uint64_t experts; /* in the tensor; 1 where it is of one matrix alone */
    bool expert_dim;  /* which are a dimension of their own */
    bool transposed;
    uint64_t total;       /* rows (of vectors: numbers) of one expert's parts together */
    uint64_t first, step; /* row r of the matrix is row first + r * step of those */
};

struct mq_part mq_part_of(const struct mq_placing *p, const struct mq_tensor_alias *alias);

struct mq_shape {
    uint32_t dims;
    uint64_t n[MQ_MAX_DIMS];
};

/* Also with dimensions of 1 besides: [channels, 1, taps] is [channels, taps]. */
bool mq_shape_is(const struct mq_st_entry *entry, const struct mq_shape *shape);
moeq_status mq_place_fail_shape(const struct mq_placing *p, const struct mq_located *at,
                                const struct mq_shape *expected);

/* The tensor of that name with `end`; it is used then. NULL: there is none. */
const struct mq_located *mq_place_find_beside(const struct mq_placing *p, const char *end);
/* Of codes of an expert's matrix that are a part of a tensor in a way that is not implemented. */
moeq_status mq_place_check_part(const struct mq_placing *p, const struct mq_part *part);
/* A copy of it becomes the tensor's. */
moeq_status mq_place_set_assembly(const struct mq_placing *p, const struct mq_assembly *a);

/* Integers (place_integers.c): whether the tensor of that name is stored so; p->at is then its codes. */
bool mq_place_find_integers(struct mq_placing *p);
moeq_status mq_place_integers(struct mq_placing *p);

#endif
