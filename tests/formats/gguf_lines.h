/* gguf_lines.h: the metadata of a GGUF file as lines: key, type, value, as
 * tests/data/make_gguf_vocab_goldens.py has them. */
#ifndef MQ_TEST_GGUF_LINES_H
#define MQ_TEST_GGUF_LINES_H

#include "buffer.h"
#include "gguf_writer.h"

/* Reads little-endian numbers and texts; every read is checked. */
struct gguf_reader {
    const unsigned char *at, *end;
};
uint64_t gguf_take(struct gguf_reader *r, size_t bytes);
/* Appends a value of a type as a line has it. */
void gguf_print_value(struct gguf_reader *r, uint64_t type, struct mq_buffer *out);

/* The sorted lines of a writer's metadata, one text, to be freed. */
char *gguf_lines(const struct mq_gguf_writer *writer);

#endif
