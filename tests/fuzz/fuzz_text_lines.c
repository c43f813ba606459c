/*
 * fuzz_text_lines.c: the lines of tokenize --jsonl, for a tokenizer of bytes.
 *
 * Beyond "no crash": every line makes progress; a text is UTF-8, has ids, and what they decode to is the text, as a
 * tokenizer of bytes has nothing that it does not know; a failure names the file.
 */
#include "fuzz_support.h"

#include "json.h"
#include "text_lines.h"
#include "tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The 256 letters that byte-level tokenizers write bytes as (openai/gpt-2, encoder.py, bytes_to_unicode). */
static void put_letter(struct mq_buffer *out, int byte)
{
    static const char *const kept[] = {"!~", "\xa1\xac", "\xae\xff"};
    int others = 0, letter = -1;
    for (int b = 0; b <= byte; b++) {
        bool is_kept = false;
        for (int i = 0; i < 3; i++)
            is_kept |= b >= (uint8_t)kept[i][0] && b <= (uint8_t)kept[i][1];
        letter = is_kept ? b : 256 + others++;
    }
    mq_buffer_printf(out, "%s\"\\u%04x\": %d", byte ? ", " : "", (unsigned)letter, byte);
}

static const struct mq_tokenizer *tokenizer(void)
{
    static struct mq_tokenizer *made;
    struct mq_buffer json = {0};
    moeq_error err = {0};
    if (made)
        return made;
    mq_buffer_puts(&json,
                   "{\"added_tokens\": [], \"normalizer\": null, \"pre_tokenizer\": {\"type\": "
                   "\"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": true, "
                   "\"use_regex\": true}, \"post_processor\": null, \"decoder\": {\"type\": "
                   "\"ByteLevel\", \"add_prefix_space\": true, \"trim_offsets\": true, "
                   "\"use_regex\": true}, \"model\": {\"type\": \"BPE\", \"dropout\": null, "
                   "\"unk_token\": null, \"merges\": [], \"vocab\": {");
    for (int byte = 0; byte < 256; byte++)
        put_letter(&json, byte);
    mq_buffer_puts(&json, "}}}");
    const moeq_status status = mq_tokenizer_load(json.data, json.size, "bytes", &made, &err);
    if (status != MOEQ_OK)
        fprintf(stderr, "%s\n", err.message);
    fuzz_expect(status == MOEQ_OK);
    mq_buffer_free(&json);
    return made;
}

static void check(const struct mq_text_line *line)
{
    const char *text = line->text.data ? line->text.data : "";
    struct mq_ids ids = {0};
    struct mq_buffer decoded = {0};
    size_t bad;
    moeq_error err = {0};
    fuzz_expect(mq_utf8_valid(text, line->text.size, &bad));
    fuzz_expect(mq_tokenizer_encode(tokenizer(), text, line->text.size, line->add_special_tokens,
                                    &ids, &err) == MOEQ_OK);
    fuzz_expect(ids.size == line->text.size);
    fuzz_expect(mq_tokenizer_decode(tokenizer(), ids.data, ids.size, false, &decoded, &err) ==
                MOEQ_OK);
    fuzz_expect(decoded.size == line->text.size &&
                memcmp(decoded.data ? decoded.data : "", text, decoded.size) == 0);
    mq_ids_free(&ids);
    mq_buffer_free(&decoded);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mq_buffer lines = {0};
    struct mq_text_line line = {0};
    size_t at = 0;
    bool more = true;
    moeq_error err = {0};
    mq_buffer_append(&lines, data, size);
    while (more) {
        const size_t before = at;
        const moeq_status status = mq_text_line_next("fuzz.jsonl", &lines, &at, &line, &more, &err);
        if (status != MOEQ_OK) {
            fuzz_refused(status, &err, "fuzz.jsonl");
            break;
        }
        fuzz_expect(more ? at > before && at <= size : at == size);
        if (more)
            check(&line);
    }
    mq_buffer_free(&line.text);
    mq_buffer_free(&lines);
    return 0;
}
