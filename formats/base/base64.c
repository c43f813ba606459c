/* base64.c: three bytes as four digits of six bits. */
#include "base64.h"

#include <stdint.h>
#include <string.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void mq_base64_encode(const void *bytes, size_t n, struct mq_buffer *text)
{
    const unsigned char *in = bytes;
    for (size_t i = 0; i < n; i += 3) {
        const size_t left = n - i;
        uint32_t word = (uint32_t)in[i] << 16;
        word |= left > 1 ? (uint32_t)in[i + 1] << 8 : 0;
        word |= left > 2 ? in[i + 2] : 0;
        const char four[] = {digits[word >> 18], digits[word >> 12 & 63],
                             left > 1 ? digits[word >> 6 & 63] : '=',
                             left > 2 ? digits[word & 63] : '='};
        mq_buffer_append(text, four, sizeof four);
    }
}

static int value_of(char digit)
{
    const char *at = digit ? strchr(digits, digit) : NULL;
    return at ? (int)(at - digits) : -1;
}

bool mq_base64_decode(const char *text, size_t n, struct mq_buffer *bytes)
{
    if (n % 4)
        return false;
    for (size_t i = 0; i < n; i += 4) {
        const int padding = i + 4 == n && text[i + 3] == '=' ? (text[i + 2] == '=' ? 2 : 1) : 0;
        uint32_t word = 0;
        for (int k = 0; k < 4; k++) {
            const int value = k >= 4 - padding ? 0 : value_of(text[i + (size_t)k]);
            if (value < 0)
                return false;
            word = word << 6 | (uint32_t)value;
        }
        const char three[] = {(char)(word >> 16), (char)(word >> 8), (char)word};
        mq_buffer_append(bytes, three, (size_t)(3 - padding));
    }
    return true;
}
