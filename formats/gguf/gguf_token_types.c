/*
 * gguf_token_types.c: types of tokens that llama.cpp knows better than the file.
 *
 * Converters have typed tokens that end a turn, and those for filling in the middle of a text, as
 * normal ones. llama.cpp finds them by their texts and makes control tokens of them, which are
 * looked for in the text before all else (source: llama-vocab.cpp, load()). Of the tokens for
 * filling in it takes one of each list, whichever it meets first; here all are taken.
 */
#include "gguf_tokenizer_int.h"

#include "utf8.h"

#include <string.h>

/* Texts of one kind, and the keys that make them ordinary when they name another token. */
struct known {
    const char *keys[2]; /* NULL: none */
    const char *texts[24];
};

#define BAR "\xef\xbd\x9c" /* U+FF5C */
#define SPACE MQ_VISIBLE_SPACE
#define KEY(name) "tokenizer.ggml." name "_token_id"

/* clang-format off */
static const struct known controls[] = {
    {{NULL},
     {"<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>",
      "<end_of_turn>", "<|endoftext|>", "</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]",
      "<|end_of_text|>", "<end_of_utterance>", "<eos>", "<turn|>", "<|tool_response>",
      "<" BAR "end" SPACE "of" SPACE "sentence" BAR ">", "[e~["}},
    {{KEY("fim_pre"), KEY("prefix")},
     {"<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<" BAR "fim" SPACE "begin" BAR ">", "<PRE>",
      SPACE "<PRE>", "<|code_prefix|>", "<|prefix|>"}},
    {{KEY("fim_suf"), KEY("suffix")},
     {"<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<" BAR "fim" SPACE "hole" BAR ">", "<SUF>",
      SPACE "<SUF>", "<|code_suffix|>", "<|suffix|>"}},
    {{KEY("fim_mid"), KEY("middle")},
     {"<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<" BAR "fim" SPACE "end" BAR ">", "<MID>",
      SPACE "<MID>", "<|code_middle|>", "<|middle|>"}},
    {{KEY("fim_pad")}, {"<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"}},
    {{KEY("fim_rep")}, {"<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"}},
    {{KEY("fim_sep")}, {"<|file_sep|>"}},
};

/* Of OpenAI's harmony format: text that is always shown. */
static const struct known shown = {{NULL},
    {"<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"}};
/* clang-format on */

static struct mq_gguf_piece *find(struct mq_gguf_vocab *v, const struct mq_strmap *texts,
                                  const char *text)
{
    uint32_t id;
    return mq_strmap_get(texts, text, strlen(text), &id) ? &v->pieces[id] : NULL;
}

static void set_all(struct mq_gguf_vocab *v, const struct mq_strmap *texts,
                    const struct known *known, enum mq_gguf_token_type type)
{
    for (size_t i = 0; i < 2 && known->keys[i]; i++) {
        const struct mq_gguf_key *key = mq_gguf_find(v->gguf, known->keys[i]);
        uint64_t id;
        if (key && key->type != MQ_GGUF_ARRAY && mq_gguf_whole(v->gguf, key, 0, &id) &&
            id < v->count)
            return;
    }
    for (const char *const *text = known->texts; *text; text++) {
        struct mq_gguf_piece *piece = find(v, texts, *text);
        if (piece)
            piece->type = type;
    }
}

void mq_gguf_override_types(struct mq_gguf_vocab *v, const struct mq_strmap *texts)
{
    for (size_t i = 0; i < sizeof controls / sizeof *controls; i++)
        set_all(v, texts, &controls[i], MQ_GGUF_TOKEN_CONTROL);
    set_all(v, texts, &shown, MQ_GGUF_TOKEN_USER_DEFINED);
    struct mq_gguf_piece *end = find(v, texts, "<|end|>"), *eos = find(v, texts, "</s>");
    const bool call = find(v, texts, "<|call|>") || find(v, texts, "<|calls|>");
    /* Where a turn ends otherwise, these do not end it. */
    if (end && call && (find(v, texts, "<|return|>") || find(v, texts, "<|flush|>")))
        end->type = MQ_GGUF_TOKEN_USER_DEFINED;
    if (eos && find(v, texts, "<|tool_response>"))
        eos->type = MQ_GGUF_TOKEN_NORMAL;
}
