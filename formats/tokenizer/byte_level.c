/* byte_level.c: the alphabet of byte-level BPE. */
#include "byte_level.h"

#include "utf8.h"

/*
 * The bytes that do not stand for themselves, in ascending order:
 *   00..20 (33 of them)  7F..A0 (34)  AD (1)
 * The n-th of them is the character U+0100 + n.
 */
enum { FIRST_RUN = 0x21, SECOND_RUN = 0xa1 - 0x7f, SOFT_HYPHEN = 0xad };

uint32_t mq_byte_level_char(uint8_t byte)
{
    if (byte < FIRST_RUN)
        return 0x100u + byte;
    if (byte >= 0x7f && byte <= 0xa0)
        return 0x100u + FIRST_RUN + (byte - 0x7fu);
    if (byte == SOFT_HYPHEN)
        return 0x100u + FIRST_RUN + SECOND_RUN;
    return byte;
}

int mq_byte_level_byte(uint32_t code)
{
    if (code < 0x100)
        return mq_byte_level_char((uint8_t)code) == code ? (int)code : -1;
    if (code < 0x100 + FIRST_RUN)
        return (int)(code - 0x100);
    if (code < 0x100 + FIRST_RUN + SECOND_RUN)
        return (int)(code - 0x100 - FIRST_RUN + 0x7f);
    return code == 0x100 + FIRST_RUN + SECOND_RUN ? SOFT_HYPHEN : -1;
}

void mq_byte_level_encode(const char *bytes, size_t n, struct mq_buffer *text)
{
    char chunk[512];
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        const uint32_t code = mq_byte_level_char((uint8_t)bytes[i]);
        /* All characters lie below U+0800: one or two bytes. */
        if (code < 0x80) {
            chunk[used++] = (char)code;
        } else {
            chunk[used++] = (char)(0xc0 | code >> 6);
            chunk[used++] = (char)(0x80 | (code & 0x3f));
        }
        if (used > sizeof chunk - 2) {
            mq_buffer_append(text, chunk, used);
            used = 0;
        }
    }
    mq_buffer_append(text, chunk, used);
}

void mq_byte_level_decode(const char *text, size_t n, struct mq_buffer *bytes)
{
    const size_t before = bytes->size;
    for (size_t i = 0; i < n;) {
        uint32_t code;
        i += mq_utf8_next(text + i, &code);
        const int byte = mq_byte_level_byte(code);
        if (byte < 0) {
            if (!mq_buffer_ok(bytes))
                return;
            bytes->size = before;
            mq_buffer_append(bytes, text, n);
            return;
        }
        mq_buffer_putc(bytes, (char)byte);
    }
}
