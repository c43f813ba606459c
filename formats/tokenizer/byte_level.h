/*
 * byte_level.h: the alphabet of byte-level BPE, GPT-2's bytes_to_unicode().
 *
 * Each byte has a printable character, so that pieces of arbitrary bytes can be JSON strings: the
 * printable ones of Latin-1 stand for themselves, the 68 others in ascending order for U+0100...
 */
#ifndef MQ_BYTE_LEVEL_H
#define MQ_BYTE_LEVEL_H

#include "buffer.h"

#include <stdint.h>

/* Where the pre-tokenizer ByteLevel cuts words, as GPT-2 (openai/gpt-2, src/encoder.py). */
#define MQ_BYTE_LEVEL_REGEX \
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

enum { MQ_BYTE_LEVEL_CHARS = 0x100 + 68 }; /* one more than the largest character */

uint32_t mq_byte_level_char(uint8_t byte);

/* The byte of a character, -1 if it stands for none. */
int mq_byte_level_byte(uint32_t code);

/* Appends the characters of n bytes in UTF-8. */
void mq_byte_level_encode(const char *bytes, size_t n, struct mq_buffer *text);

/* Appends the bytes of n bytes of UTF-8 text; where any character stands for no byte, the text
 * itself (a special token, written in plain characters). */
void mq_byte_level_decode(const char *text, size_t n, struct mq_buffer *bytes);

#endif
