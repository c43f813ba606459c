/* mutate_safetensors.h: what a header says of its tensors, for mutate_safetensors.c and what uses it. */
#ifndef MQ_FUZZ_MUTATE_SAFETENSORS_H
#define MQ_FUZZ_MUTATE_SAFETENSORS_H

#include "mutate.h"
#include "mutate_json_tree.h"

enum { MAX_PLACES = 256, MAX_TENSOR_BYTES = 1 << 20 };

/* A tensor, and the spans of its members in the mutant. */
struct place {
    size_t name, name_end; /* without the quotes */
    size_t type, type_end, shape, shape_end, offsets, offsets_end;
    uint64_t begin; /* data_offsets[0] as it stands there */
    uint64_t bytes; /* by type and shape */
    /* For those that lay out data: */
    const uint8_t *from; /* what it is to hold, zeros behind it */
    size_t from_bytes;
    bool reshape, words; /* its shape is to become [bytes], or [bytes / 4] */
};

/* The tensors of the header in [at, end), in its order, that can be laid out; places[MAX_PLACES]. */
uint32_t mutate_read_places(const struct mutant *m, size_t at, size_t end, struct place *places);

/* Lays them out side by side: writes their data_offsets. */
void mutate_lay_out(struct mutant *m, const struct place *places, uint32_t count);

/* Changes the header, as JSON or as a table; places is scratch. */
void mutate_header(struct mutant *m, size_t at, size_t end, struct place *places,
                   const uint8_t *other, size_t other_size);

#endif
