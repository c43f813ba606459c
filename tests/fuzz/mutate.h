/*
 * mutate.h: mutators that know what an input is made of, for libFuzzer.
 *
 * A byte changed at random breaks the grammar of nearly every JSON text and the sizes of nearly
 * every table, so that a fuzzer tests the first check of a reader over and over. These change
 * members, numbers, texts, types and tables, and mostly keep what stands around them right.
 *
 * A mutator works in place, by splices. moeq_fuzz(<name> MUTATOR <mutator> ...) in CMakeLists.txt
 * gives a target one; mutator_main.c is what libFuzzer calls.
 */
#ifndef MQ_FUZZ_MUTATE_H
#define MQ_FUZZ_MUTATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* libFuzzer's: changes some bytes, by its dictionary too. Returns the new size, at most `max`. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max);

struct mutant {
    uint8_t *data;
    size_t size, max; /* never more than max bytes */
    uint64_t random;
};

/* A mutator changes the mutant, if it can. `other`: another input of the corpus, to take parts of;
 * NULL: none. */
typedef void mutate_fn(struct mutant *m, const uint8_t *other, size_t other_size);

/* JSON texts, with NUL bytes or white space between them; what is not JSON is changed byte by byte. */
mutate_fn mutate_json;
/* The data's size (2 bytes), then the header's JSON: fuzz_safetensors.c. */
mutate_fn mutate_safetensors;
/* config.json, NUL, index, NUL, safetensors file: fuzz_hf_folder.c. */
mutate_fn mutate_hf_folder;
/* A safetensors file; of moeq's profile, its checksums made right half of the time. */
mutate_fn mutate_moeq_file;
mutate_fn mutate_gguf;
/* Parts, each behind its length (u32): one of the above, by what it looks like. */
mutate_fn mutate_parts;

/* ---- for the mutators ---- */

uint32_t mutate_below(struct mutant *m, uint32_t n); /* 0 .. n - 1; 0 for n = 0 */
bool mutate_chance(struct mutant *m, uint32_t in);   /* once in `in` times */

/* Puts n bytes, which may be the mutant's own, in place of [at, end). False: no room, no change. */
bool mutate_splice(struct mutant *m, size_t at, size_t end, const void *bytes, size_t n);

/* libFuzzer's own mutation, of [at, end) alone. */
void mutate_bytes(struct mutant *m, size_t at, size_t end);
/* That, keeping the size. */
void mutate_bytes_in_place(struct mutant *m, size_t at, size_t end);

/* Some changes to the JSON texts of [at, end), which may hold no NUL byte. False: it is no JSON. */
bool mutate_json_range(struct mutant *m, size_t at, size_t end, const uint8_t *other,
                       size_t other_size);

/* Numbers at which sizes and counts go wrong. */
uint64_t mutate_edge(struct mutant *m);

#endif
