/*
 * gguf_pre.c: the pre-tokenizers that llama.cpp knows.
 *
 * Names and flags: src/llama-vocab.cpp of llama.cpp (June 2026), load() and llm_tokenizer_bpe. The
 * expressions are those of the models' tokenizer.json, which that file quotes beside its own; where
 * its own match something else, `differs` says what. Text is not normalized: many of these models'
 * tokenizer.json bring it to the form NFC first, for which a GGUF file has no key, and llama.cpp
 * does not.
 */
#include "gguf_pre.h"

#include "byte_level.h"

#include <string.h>

#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define REST "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define WORDS "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+"
#define SYMBOLS "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*"
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define GPT2 MQ_BYTE_LEVEL_REGEX
#define LLAMA3 CONTRACTIONS "|" WORDS "|\\p{N}{1,3}" SYMBOLS REST
#define QWEN2 CONTRACTIONS "|" WORDS "|\\p{N}" SYMBOLS REST
#define CASES(suffix, digits)                                                                     \
    "[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+" suffix "|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER \
    "*" suffix "|" digits "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*" REST
#define GPT_4O CASES(CONTRACTIONS "?", "\\p{N}{1,3}")
#define DEEPSEEK_WORDS                                                                   \
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?" \
    "[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+"
#define HAN_KANA "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"
#define HAN_HANGUL "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"
#define BLOOM " ?[^(\\s|[.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c])]+"
/* The letters of scripts with two cases, as deepseek-llm lists them. Those that NFC would change
 * are written by number. */
/* clang-format off */
#define CASED \
    "A-Za-z\u00b5À-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚ" \
    "Ḁ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝ\u1f5f-\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4" \
    "\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102" \
    "\u2107\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128\u212a-\u212d\u212f-\u2134" \
    "\u2139\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184Ⰰ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆ" \
    "ﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃"
/* clang-format on */

#define CASE_DIFFERS                                                                       \
    "tells upper from lower case in ASCII only and takes no combining mark for a part of " \
    "a word"

/* clang-format off */
static const struct mq_gguf_rule
    gpt2 = {{GPT2}, NULL},
    digits_gpt2 = {{"\\p{N}", GPT2}, NULL},
    llama3 = {{LLAMA3}, NULL},
    qwen2 = {{QWEN2}, NULL},
    qwen35 = {{CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}"
               "| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*" REST}, NULL},
    tekken = {{CASES("", "\\p{N}")}, CASE_DIFFERS},
    gpt_4o = {{GPT_4O}, CASE_DIFFERS},
    gpt_4o_marks = {{GPT_4O}, "tells upper from lower case in ASCII only"},
    tiny_aya = {{"\\d{1,3}(?=(?:\\d{3})*\\b)", GPT_4O}, NULL},
    deepseek_llm = {{"[\\r\\n]", "\\s?[" CASED "]+",
                     "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+",
                     "\\s+$", HAN_HANGUL, "\\p{N}"},
                    NULL},
    deepseek_coder = {{"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", HAN_HANGUL, "\\p{N}"}, NULL},
    deepseek_v3 = {{"\\p{N}{1,3}", HAN_KANA, DEEPSEEK_WORDS "[\\r\\n]*" REST}, NULL},
    spark = {{"\\p{N}{1,3}", HAN_KANA, DEEPSEEK_WORDS "|[\\r\\n]|\\s+(?!\\S)|\\s+", "\\p{N}"},
             NULL},
    /* `default`, and what llama.cpp takes where the key is missing; an early guess of its authors,
     * which is no model's. */
    fallback = {{"[\\p{P}\\$\\+<=>\\^~\\|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]"}, NULL},
    falcon = {{"[\\p{P}\\$\\+<=>\\^~\\|`]+", GPT2, "[0-9][0-9][0-9]"}, NULL},
    bloom = {{BLOOM}, NULL},
    viking = {{BLOOM, "\\p{N}"}, NULL},
    superbpe = {{"\\p{N}+", "(?=(\\d{3})+(?!\\d))"}, NULL},
    bailing = {{"'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}"
                "| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+"}, NULL},
    seed_coder = {{CONTRACTIONS "|" WORDS "|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\\r\\n]+" REST}, NULL},
    ufakzeka = {{WORDS "|\\p{N}" SYMBOLS REST}, NULL},
    laguna = {{"[^\\n]+|[\\n]+", QWEN2}, NULL},
    jais2 = {{CONTRACTIONS "|" WORDS "|\\p{N}{1,3}" SYMBOLS "|\\s*[\\r\\n]+"
              "|\\s{512}(?!\\S)|\\s{256}(?!\\S)|\\s{128}(?!\\S)|\\s{64}(?!\\S)|\\s{32}(?!\\S)"
              "|\\s{16}(?!\\S)|\\s{8}(?!\\S)|\\s{4}(?!\\S)|\\s{1,2}(?!\\S)|\\s{1}"}, NULL},
    exaone_moe = {{CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?(?:\\p{L}\\p{M}*(?: \\p{L}\\p{M}*)*)+"
                   "|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]?|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+"}, NULL},
    minicpm5 = {{"\\p{N}{1,3}", CONTRACTIONS "|" WORDS "|\\p{N}+" SYMBOLS REST}, NULL};

#define SEPARATED "GPT-2's, with a separator behind the text, of an encoder"
#define WHOLE_LINES "merges over whole lines of plain text, with U+2581 for spaces"

const struct mq_gguf_pre mq_gguf_pres[] = {
    /* name, rule, ignore_merges, add_bos, what */
    {"llama-bpe", &llama3, true, true, NULL},
    {"llama3", &llama3, true, true, NULL},
    {"llama-v3", &llama3, true, true, NULL},
    {"falcon3", &llama3, true, true, NULL},
    {"falcon-h1", &llama3, true, true, NULL},
    {"pixtral", &llama3, true, true, NULL},
    {"midm-2.0", &llama3, true, true, NULL},
    {"lfm2", &llama3, true, true, NULL},
    {"jina-v5-nano", &llama3, true, true, NULL},
    {"smaug-bpe", &llama3, false, false, NULL},
    {"dbrx", &llama3, false, false, NULL},
    {"glm4", &llama3, false, false, NULL},
    {"chatglm-bpe", &llama3, false, false, NULL},
    {"qwen2", &qwen2, false, false, NULL},
    {"deepseek-r1-qwen", &qwen2, false, false, NULL},
    {"kormo", &qwen2, false, false, NULL},
    {"f2llmv2", &qwen2, false, false, NULL},
    {"megrez", &qwen2, false, false, NULL},
    {"stablelm2", &qwen2, false, false, NULL},
    {"hunyuan", &qwen2, false, false, NULL},
    {"solar-open", &qwen2, false, false, NULL},
    {"grok-2", &qwen2, false, false, NULL},
    {"qwen35", &qwen35, false, false, NULL},
    {"gpt-2", &gpt2, false, false, NULL},
    {"phi-2", &gpt2, false, false, NULL},
    {"mpt", &gpt2, false, false, NULL},
    {"olmo", &gpt2, false, false, NULL},
    {"jais", &gpt2, false, false, NULL},
    {"exaone4", &gpt2, false, false, NULL},
    {"gigachat", &gpt2, false, false, NULL},
    {"a.x-4.0", &gpt2, false, false, NULL},
    {"mellum", &gpt2, false, false, NULL},
    {"trillion", &gpt2, false, false, NULL},
    {"granite-docling", &gpt2, false, false, NULL},
    {"jina-es", &gpt2, false, false, NULL},
    {"jina-de", &gpt2, false, false, NULL},
    {"jina-v2-es", &gpt2, false, false, NULL},
    {"jina-v2-de", &gpt2, false, false, NULL},
    {"modern-bert", &gpt2, false, false, NULL},
    {"smollm", &digits_gpt2, false, false, NULL},
    {"starcoder", &digits_gpt2, false, false, NULL},
    {"refact", &digits_gpt2, false, false, NULL},
    {"command-r", &digits_gpt2, false, false, NULL},
    {"codeshell", &digits_gpt2, false, false, NULL},
    {"exaone", &digits_gpt2, false, false, NULL},
    {"minerva-7b", &digits_gpt2, false, false, NULL},
    {"mellum2", &digits_gpt2, false, false, NULL},
    {"deepseek-llm", &deepseek_llm, false, false, NULL},
    {"deepseek-coder", &deepseek_coder, false, false, NULL},
    {"deepseek-v3", &deepseek_v3, false, false, NULL},
    {"hunyuan-dense", &deepseek_v3, false, false, NULL},
    {"joyai-llm", &deepseek_v3, false, false, NULL},
    {"hy_v4", &deepseek_v3, false, false, NULL},
    {"spark2_5", &spark, false, false, NULL},
    {"tekken", &tekken, true, true, NULL},
    {"gpt-4o", &gpt_4o, false, false, NULL},
    {"llama4", &gpt_4o, false, false, NULL},
    {"kanana2", &gpt_4o, false, false, NULL},
    {"talkie", &gpt_4o, false, false, NULL},
    {"minimax-m2", &gpt_4o, false, false, NULL},
    {"granite-embed-multi-97m", &gpt_4o_marks, true, false, NULL},
    {"tiny_aya", &tiny_aya, false, false, NULL},
    {"cohere2moe", &tiny_aya, false, false, NULL},
    {"falcon", &falcon, false, false, NULL},
    {"bloom", &bloom, false, false, NULL},
    {"poro-chat", &bloom, false, false, NULL},
    {"gpt3-finnish", &bloom, false, false, NULL},
    {"viking", &viking, false, false, NULL},
    {"superbpe", &superbpe, false, false, NULL},
    {"bailingmoe", &bailing, false, false, NULL},
    {"bailingmoe2", &bailing, false, false, NULL},
    {"llada-moe", &bailing, false, false, NULL},
    {"seed-coder", &seed_coder, false, false, NULL},
    {"ufakzeka", &ufakzeka, false, false, NULL},
    {"laguna", &laguna, false, false, NULL},
    {"jais-2", &jais2, false, false, NULL},
    {"exaone-moe", &exaone_moe, false, false, NULL},
    {"minicpm5", &minicpm5, true, false, NULL},
    {"default", &fallback, false, false, NULL},
    {"afmoe", NULL, false, false, "digits in groups counted from the right, by code"},
    {"kimi-k2", NULL, false, false, "Han characters apart from all other letters, by code"},
    {"youtu", NULL, false, false, "Hangul, Han and full-width punctuation apart"},
    {"chameleon", NULL, false, false, "the tokens of images within text"},
    {"gemma4", NULL, false, false, WHOLE_LINES},
    {"granite-embed-multi-311m", NULL, false, false, WHOLE_LINES},
    {"sarvam-moe", NULL, false, false, WHOLE_LINES},
    {"whitespace", NULL, false, false, "words between spaces, without the byte alphabet"},
    {"jina-v1-en", NULL, false, false, SEPARATED},
    {"jina-v2-code", NULL, false, false, SEPARATED},
    {"roberta-bpe", NULL, false, false, SEPARATED},
};
/* clang-format on */
const size_t mq_gguf_pres_count = sizeof mq_gguf_pres / sizeof *mq_gguf_pres;

const struct mq_gguf_pre *mq_gguf_pre_find(const char *name, size_t n)
{
    for (size_t i = 0; i < mq_gguf_pres_count; i++)
        if (strlen(mq_gguf_pres[i].name) == n && memcmp(mq_gguf_pres[i].name, name, n) == 0)
            return &mq_gguf_pres[i];
    return NULL;
}

/* The character at `*s`, a newline or return for its escape as well; steps behind it. */
static char next_char(const char **s)
{
    const char c = *(*s)++;
    const char escaped = c == '\\' ? **s : '\0';
    if (escaped != 'n' && escaped != 'r')
        return c;
    (*s)++;
    return escaped == 'n' ? '\n' : '\r';
}

bool mq_gguf_same_regex(const char *a, const char *b)
{
    while (*a && *b) {
        const bool both = a[0] == '\\' && a[1] == '\\' && b[0] == '\\' && b[1] == '\\';
        if (both) { /* a backslash itself: the next character is no escape */
            a += 2;
            b += 2;
        } else if (next_char(&a) != next_char(&b)) {
            return false;
        }
    }
    return *a == *b;
}

void mq_gguf_put_rule(struct mq_buffer *json, const struct mq_gguf_rule *rule, bool prefix)
{
    bool own = false;
    mq_buffer_puts(json, "{\"type\": \"Sequence\", \"pretokenizers\": [");
    for (const char *const *split = rule->splits; *split; split++) {
        own = !split[1] && strcmp(*split, GPT2) == 0;
        if (own)
            break;
        mq_buffer_puts(json, "{\"type\": \"Split\", \"pattern\": {\"Regex\": ");
        mq_buffer_put_json(json, *split, strlen(*split));
        mq_buffer_puts(json, "}, \"behavior\": \"Isolated\", \"invert\": false}, ");
    }
    mq_buffer_printf(json,
                     "{\"type\": \"ByteLevel\", \"add_prefix_space\": %s, \"trim_offsets\": true, "
                     "\"use_regex\": %s}]}",
                     prefix ? "true" : "false", own ? "true" : "false");
}

void mq_gguf_put_pre_names(struct mq_buffer *text)
{
    const char *separator = "";
    for (size_t i = 0; i < mq_gguf_pres_count; i++) {
        if (!mq_gguf_pres[i].rule || (i && mq_gguf_pres[i].rule == mq_gguf_pres[i - 1].rule))
            continue;
        mq_buffer_printf(text, "%s%s", separator, mq_gguf_pres[i].name);
        separator = ", ";
    }
}
