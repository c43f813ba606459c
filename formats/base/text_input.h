/* text_input.h: the text to work on: files, pipes or standard input, read once and joined. */
#ifndef MQ_TEXT_INPUT_H
#define MQ_TEXT_INPUT_H

#include "moeq.h"

#include <stdbool.h>
#include <sys/types.h>

/* One of the places that a text comes from. */
struct mq_text_source {
    const char *name;    /* the path as it was given; "standard input" for "-" */
    size_t offset, size; /* its bytes in the whole text */
    dev_t device;
    ino_t inode;
    char *domain; /* what it is a text of: see mq_text_domains; NULL: of no domain */
};

struct mq_text {
    char *name; /* of all: "a.txt", or "a.txt + b.txt" */
    char *data; /* with a NUL behind it */
    size_t size;
    struct mq_text_source *sources;
    size_t count;
};

/*
 * Reads texts, whatever they are read from, and joins them as one file would hold them one after
 * the other: nothing is put between them. "-" is standard input. The whole must be UTF-8; a message
 * names the source and the byte in it; UTF-16 is called by its name. A byte order mark (EF BB BF)
 * is kept: it is text to Transformers and to llama.cpp too. The paths must outlive the text; free
 * it with mq_text_free.
 */
moeq_status mq_text_read(const char *const *paths, size_t count, struct mq_text *text,
                         moeq_error *err);
void mq_text_free(struct mq_text *text);

/* Whether source i of one is the file that source k of another is, or has the same bytes. */
bool mq_text_same_source(const struct mq_text *a, size_t i, const struct mq_text *b, size_t k);
/*
 * Domains: sources that stand together under one name ("code", "chat") are a text of their own, which is tokenized
 * and cut by itself. Either all sources have a name or none: then there are 0 domains, and one joined text.
 */
size_t mq_text_domains(const struct mq_text *text);
/* Domain number i, or, of a text without domains, all of it: a view, not to be freed. Its `sources` keep their
 * offsets in the whole. */
struct mq_text mq_text_domain(const struct mq_text *text, size_t i);

/* A sentence on the first source that begins with a byte order mark; false if none does. */
enum { MQ_TEXT_NOTE_BYTES = 512 };
bool mq_text_note(const struct mq_text *text, char sentence[MQ_TEXT_NOTE_BYTES]);

/* The bytes of a file, pipe or, for "-", standard input; refuses more than `cap`. */
struct mq_buffer;
struct mq_file;
moeq_status mq_input_read(const char *path, uint64_t cap, struct mq_buffer *bytes, moeq_error *err);

/* As mq_file_open; but what a pipe or standard input ("-") gives, at most `cap` bytes, is taken
 * into memory, and read at offsets from there. */
moeq_status mq_input_open(const char *path, uint64_t cap, struct mq_file *file, moeq_error *err);

#endif
