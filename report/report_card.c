/*
 * report_card.c: front matter as the Hub reads it, then what people ask of quantized files: which, how good, how to run.
 *
 * Names and texts are hostile: in YAML they are quoted strings of ASCII (JSON's, which YAML 1.1 and 1.2 read), in
 * Markdown they go through mq_markdown_text, in commands they are words as a shell quotes them.
 */
#include "report_card.h"

#include "escape.h"
#include "json.h"
#include "report_md.h"
#include "report_verify.h"
#include "report_words.h"
#include "text_match.h"

#include <ctype.h>
#include <math.h>
#include <string.h>
#include <strings.h>

/* ---- texts ---- */

static void same_char(struct mq_buffer *out, const char *text, size_t i)
{
    mq_buffer_putc(out, text[i]);
}

/* The code point of well-formed UTF-8 at *at, which moves behind it. */
static uint32_t next_code(const char **at)
{
    const unsigned char *p = (const unsigned char *)*at;
    const int more = p[0] >= 0xf0 ? 3 : p[0] >= 0xe0 ? 2 : p[0] >= 0xc0 ? 1 : 0;
    uint32_t code = more == 3 ? p[0] & 7u : more == 2 ? p[0] & 15u : more == 1 ? p[0] & 31u : p[0];
    for (int i = 1; i <= more && p[i]; i++)
        code = code << 6 | (p[i] & 63u);
    *at += 1 + more;
    return code;
}

static void put_yaml(struct mq_buffer *out, const char *text)
{
    struct mq_buffer clean = {0};
    mq_escape(&clean, text, same_char);
    mq_buffer_putc(out, '"');
    for (const char *at = clean.data; at && *at;) {
        const uint32_t code = next_code(&at);
        if (code == '"' || code == '\\')
            mq_buffer_printf(out, "\\%c", (char)code);
        else if (code >= 32 && code < 127)
            mq_buffer_putc(out, (char)code);
        else if (code < 0x10000)
            mq_buffer_printf(out, "\\u%04x", code);
        else
            mq_buffer_printf(out, "\\U%08x", code);
    }
    mq_buffer_putc(out, '"');
    out->failed = out->failed || clean.failed;
    mq_buffer_free(&clean);
}

static void url_char(struct mq_buffer *out, const char *text, size_t i)
{
    const unsigned char c = (unsigned char)text[i];
    if (isalnum(c) || strchr("-._", c))
        mq_buffer_putc(out, (char)c);
    else
        mq_buffer_printf(out, "%%%02X", c);
}

/* ---- what it is about ---- */

static const char *source_text(const struct mq_page *r, const char *key)
{
    return mq_report_string(mq_json_get(r->document, "source_card"), key);
}

/* What is known of the original's name: of the Hub, else as a recording has it, else its path. */
static const char *known_name(const struct mq_page *r)
{
    const cJSON *against = mq_json_get(r->document, "against");
    const char *name = source_text(r, "base_model");
    if (name[0])
        return name;
    if (strcmp(mq_report_string(against, "kind"), "recording") == 0)
        return mq_report_string(against, "model");
    name = mq_report_string(mq_json_get(r->document, "model"), "path");
    return name[0] ? name : mq_report_string(against, "path");
}

/* The original's name without its owner and folders; where nothing is known, `otherwise`. */
static void put_model_name(const struct mq_page *r, const char *otherwise, struct mq_buffer *out)
{
    const char *name = known_name(r);
    size_t end = strlen(name);
    while (end > 1 && name[end - 1] == '/')
        end--;
    size_t start = end;
    while (start && name[start - 1] != '/')
        start--;
    if (name[start + strspn(name + start, "./")] == '\0') /* "", ".", "/" */
        mq_buffer_puts(out, otherwise);
    else
        mq_buffer_append(out, name + start, end - start);
}

static bool is_gguf(const struct mq_report_arm *a)
{
    return !a->file[0] || strcasecmp(mq_extension(a->file), ".gguf") == 0;
}

/* What a file is called; of a level, what it is called when it is made. */
static void put_file_name(const struct mq_page *r, const struct mq_report_arm *a,
                          struct mq_buffer *out)
{
    if (a->file[0]) {
        mq_buffer_puts(out, a->file);
        return;
    }
    put_model_name(r, "model", out);
    mq_buffer_putc(out, '-');
    for (const char *c = a->id; *c; c++)
        mq_buffer_putc(out, (char)toupper((unsigned char)*c));
    mq_buffer_puts(out, ".gguf");
}

/* What stands beside a level, which was measured without a file; an edited document's may not be a word. */
static void put_not_made(const struct mq_report_arm *a, struct mq_buffer *out)
{
    if (a->file[0])
        return;
    mq_buffer_puts(out, " (not made yet");
    if (a->id[0] && a->id[strspn(a->id, "abcdefghijklmnopqrstuvwxyz0123456789_")] == '\0')
        mq_buffer_printf(out, ": `moeq export --level %s`", a->id);
    mq_buffer_putc(out, ')');
}

/* Of equals a file that there is goes before a level that has yet to be made into one. */
static bool is_better(const struct mq_report_arm *a, const struct mq_report_arm *than)
{
    if (!than || a->kld.value != than->kld.value)
        return !than || a->kld.value < than->kld.value;
    return a->file[0] && !than->file[0];
}

static const struct mq_report_arm *first_arm(const struct mq_page *r)
{
    const struct mq_report_arm *first = r->recommended;
    for (size_t i = 0; i < r->arms_count; i++) {
        const struct mq_report_arm *a = &r->arms[i];
        if (!a->is_baseline &&
            (!first || (a->kld.value == first->kld.value && is_better(a, first))))
            first = a;
    }
    return first;
}

/* ---- front matter ---- */

static void put_key(const char *key, const char *value, struct mq_buffer *out)
{
    if (!value[0])
        return;
    mq_buffer_printf(out, "%s: ", key);
    put_yaml(out, value);
    mq_buffer_putc(out, '\n');
}

static void put_front_matter(const struct mq_page *r, struct mq_buffer *out)
{
    const cJSON *card = mq_json_get(r->document, "source_card"),
                *model = mq_json_get(r->document, "model");
    const cJSON *languages = mq_report_array(card, "language");
    bool gguf = false;
    for (size_t i = 0; i < r->arms_count; i++)
        gguf = gguf || (!r->arms[i].is_baseline && is_gguf(&r->arms[i]));
    mq_buffer_puts(out, "---\n");
    put_key("base_model", source_text(r, "base_model"), out);
    if (!source_text(r, "base_model")[0])
        mq_buffer_puts(out, "# base_model: OWNER/NAME   (not known here: --base-model says it)\n");
    else if (strcmp(source_text(r, "base_model_from"), "_name_or_path") == 0)
        mq_buffer_puts(out, "# base_model is what config.json has as _name_or_path: check it\n");
    mq_buffer_printf(out, "base_model_relation: quantized\nlibrary_name: %s\n",
                     gguf ? "gguf" : "moeq");
    put_key("license", source_text(r, "license"), out);
    put_key("license_name", source_text(r, "license_name"), out);
    put_key("license_link", source_text(r, "license_link"), out);
    const char *pipeline = source_text(r, "pipeline_tag");
    put_key("pipeline_tag", pipeline[0] ? pipeline : "text-generation", out);
    if (languages)
        mq_buffer_puts(out, "language:\n");
    for (const cJSON *l = languages ? languages->child : NULL; l; l = l->next)
        if (cJSON_IsString(l)) {
            mq_buffer_puts(out, "- ");
            put_yaml(out, l->valuestring);
            mq_buffer_putc(out, '\n');
        }
    mq_buffer_printf(out, "tags:\n%s- quantized\n- moeq\n", gguf ? "- gguf\n" : "");
    if (mq_report_number(model, "experts") > 0)
        mq_buffer_puts(out, "- mixture-of-experts\n");
    mq_buffer_puts(out, "---\n\n");
}

/* ---- tables ---- */

/* The figures by which people choose; of a dense model without the routing. */
static const struct mq_figure *column(const struct mq_page *r, size_t i)
{
    static const enum mq_figure_id ids[] = {MQ_FIGURE_KLD_MEAN, MQ_FIGURE_SAME_TOP,
                                            MQ_FIGURE_EXACT_SET, MQ_FIGURE_PPL_RATIO};
    for (size_t k = 0; k < sizeof ids / sizeof *ids; k++) {
        bool some = false;
        for (size_t a = 0; a < r->arms_count; a++)
            some = some || isfinite(mq_report_figure(r->arms[a].json, &mq_figures[ids[k]]).value);
        if (some && i-- == 0)
            return &mq_figures[ids[k]];
    }
    return NULL;
}

static void put_files(const struct mq_page *r, struct mq_buffer *out)
{
    const struct mq_figure *f;
    mq_buffer_puts(out, "| file | size | bits/weight");
    for (size_t i = 0; (f = column(r, i)) != NULL; i++)
        mq_buffer_printf(out, " | %s%s", mq_words_heading(f).s,
                         f->unit == MQ_UNIT_NATS ? " (nats)" : "");
    mq_buffer_puts(out, " |\n|:--|--:|--:");
    for (size_t i = 0; column(r, i); i++)
        mq_buffer_puts(out, "|--:");
    mq_buffer_puts(out, "|\n");
    for (size_t k = 0; k < r->arms_count; k++) {
        const struct mq_report_arm *a = &r->arms[k];
        struct mq_buffer name = {0};
        if (a->is_baseline)
            continue;
        put_file_name(r, a, &name);
        mq_buffer_puts(out, "| ");
        mq_markdown_text(out, name.data ? name.data : "");
        if (a->file[0] && r->candidates_count > 1) { /* the chart has letters */
            mq_buffer_puts(out, " (");
            mq_markdown_text(out, a->id);
            mq_buffer_putc(out, ')');
        }
        put_not_made(a, out);
        mq_buffer_printf(out, " | %s | %s", mq_words_bytes(a->file_bytes).s,
                         mq_words_sig(a->bits_per_weight, 3).s);
        for (size_t i = 0; (f = column(r, i)) != NULL; i++)
            mq_buffer_printf(out, " | %s", mq_words_figure(f, mq_report_figure(a->json, f)).s);
        mq_buffer_puts(out, " |\n");
        out->failed = out->failed || name.failed;
        mq_buffer_free(&name);
    }
    mq_buffer_puts(out, "\nAgainst the original; ± is one standard error.");
    for (size_t i = 0; (f = column(r, i)) != NULL; i++) {
        mq_buffer_printf(out, " %s: ", mq_words_heading(f).s);
        mq_markdown_text(out, f->means);
    }
    mq_buffer_puts(out, "\n\n");
}

/* Of what fits, with a tenth and at least 1 GiB for context and buffers, the closest to the original. */
static const struct mq_report_arm *best_within(const struct mq_page *r, double gib)
{
    const struct mq_report_arm *best = NULL;
    for (size_t i = 0; i < r->arms_count; i++) {
        const struct mq_report_arm *a = &r->arms[i];
        const double bytes = a->file_bytes + fmax(0x1p30, 0.1 * a->file_bytes);
        if (!a->is_baseline && bytes <= gib * 0x1p30 && isfinite(a->kld.value) &&
            is_better(a, best))
            best = a;
    }
    return best;
}

/* What is known to be worse than was asked for is no choice, and a card without this would be one. */
static void put_broken(const struct mq_page *r, struct mq_buffer *out)
{
    const size_t broken = mq_report_broken(r);
    if (!broken)
        return;
    mq_buffer_printf(out, "**❌ The gate is broken: %s, so nothing is recommended here.**\n\n",
                     mq_words_counted((double)broken, "limit").s);
    mq_markdown_limits(r, out);
}

static void put_choice(const struct mq_page *r, struct mq_buffer *out)
{
    static const int sizes[] = {2,  4,  6,  8,   10,  12,  16,  20,  24,  32,   40,  48,
                                64, 80, 96, 128, 192, 256, 384, 512, 768, 1024, 2048};
    const struct mq_report_arm *before = NULL;
    mq_buffer_puts(out, "## Which one should I take?\n\n");
    if (mq_report_broken(r)) {
        mq_buffer_puts(out, "None: the gate is broken, as said above.\n\n");
        return;
    }
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const struct mq_report_arm *best = best_within(r, sizes[i]);
        struct mq_buffer name = {0};
        if (!best || best == before)
            continue;
        if (!before)
            mq_buffer_puts(out, "| memory | file | output |\n|--:|:--|:--|\n");
        before = best;
        put_file_name(r, best, &name);
        mq_buffer_printf(out, "| from %d GB | ", sizes[i]);
        mq_markdown_text(out, name.data ? name.data : "");
        put_not_made(best, out);
        mq_buffer_printf(out, " | %s |\n", mq_quality_bands[best->quality].words);
        out->failed = out->failed || name.failed;
        mq_buffer_free(&name);
    }
    mq_buffer_puts(
        out, before ? "\nMemory of the card, or of the machine, with a tenth of the file (at least "
                      "1 GiB) for context and buffers; `moeq fit` counts exactly.\n\n"
                    : "None was measured against the original.\n\n");
}

/* ---- how ---- */

static void put_measured(const struct mq_page *r, struct mq_buffer *out)
{
    const cJSON *doc = r->document, *p = mq_json_get(doc, "protocol");
    mq_buffer_puts(
        out, "## How this was measured\n\nEach token of a text was predicted by the original and "
             "by each "
             "file, side by side: the KL divergence is that of the file's distribution from the "
             "original's. ");
    mq_buffer_puts(out, mq_words_counted(mq_report_number(p, "scored_tokens"), "prediction").s);
    mq_buffer_puts(out, " of ");
    mq_markdown_text(out, mq_base_name(mq_report_string(doc, "text")));
    mq_buffer_printf(out, ", %s of %s tokens (protocol ",
                     mq_words_counted(mq_report_number(p, "windows"), "window").s,
                     mq_words_count(mq_report_number(p, "context_tokens")).s);
    mq_markdown_text(out, mq_report_string(p, "name"));
    mq_buffer_puts(out, "), arithmetic ");
    mq_markdown_text(out, mq_report_string(doc, "compute"));
    mq_buffer_puts(out, ", by ");
    mq_markdown_text(out, mq_report_string(doc, "producer"));
    mq_buffer_puts(out, ".\n\n");
}

static void put_run_gguf(const struct mq_page *r, const char *file, struct mq_buffer *out)
{
    struct mq_buffer name = {0};
    put_model_name(r, "model", &name);
    mq_buffer_puts(out, "llama.cpp:\n\n```sh\nllama-server -m ");
    mq_shell_word(out, "", file);
    mq_buffer_puts(out, " -ngl 99 -c 8192\n```\n\nOllama:\n\n```sh\nprintf '%s\\n' ");
    mq_shell_word(out, "FROM ./", file);
    mq_buffer_puts(out, " > Modelfile\nollama create ");
    mq_shell_word(out, "", name.data ? name.data : "model");
    mq_buffer_puts(out, " -f Modelfile\nollama run ");
    mq_shell_word(out, "", name.data ? name.data : "model");
    mq_buffer_puts(out, "\n```\n\nLM Studio:\n\n```sh\nlms import ");
    mq_shell_word(out, "", file);
    mq_buffer_puts(out, "\n```\n\n");
    out->failed = out->failed || name.failed;
    mq_buffer_free(&name);
}

/* A level has no file yet, and a moeq file is exported first. */
static void put_run(const struct mq_page *r, struct mq_buffer *out)
{
    const struct mq_report_arm *a = first_arm(r);
    struct mq_buffer name = {0};
    if (!a)
        return;
    put_file_name(r, a, &name);
    const char *file = name.data ? name.data : "model.gguf";
    mq_buffer_puts(out, "## How to run it\n\n");
    if (!a->file[0] || !is_gguf(a)) {
        mq_buffer_puts(out, "```sh\nmoeq export ");
        if (a->file[0]) {
            mq_shell_word(out, "", a->file);
            mq_buffer_puts(out, " -o model.gguf\n```\n\n");
            file = "model.gguf";
        } else {
            mq_buffer_puts(out, "DIR -o ");
            mq_shell_word(out, "", file);
            mq_buffer_puts(out, " --level ");
            mq_shell_word(out, "", a->id);
            mq_buffer_puts(out, "\n```\n\n");
        }
    }
    put_run_gguf(r, file, out);
    out->failed = out->failed || name.failed;
    mq_buffer_free(&name);
}

static void put_head(const struct mq_page *r, struct mq_buffer *out)
{
    struct mq_buffer name = {0};
    const char *base = source_text(r, "base_model");
    put_model_name(r, "the original", &name);
    mq_buffer_puts(out, "# ");
    mq_markdown_text(out, name.data ? name.data : "the original");
    mq_buffer_puts(out, ", quantized\n\nQuantized files of ");
    if (base[0]) {
        mq_buffer_puts(out, "[");
        mq_markdown_text(out, base);
        mq_buffer_puts(out, "](https://huggingface.co/");
        for (const char *at = base, *slash = strchr(base, '/'); *at; at++)
            if (at == slash)
                mq_buffer_putc(out, '/');
            else
                url_char(out, at, 0);
        mq_buffer_puts(out, ")");
    } else {
        mq_markdown_text(out, name.data ? name.data : "the original");
    }
    mq_buffer_puts(out, ", each measured against it.\n\n");
    out->failed = out->failed || name.failed;
    mq_buffer_free(&name);
}

void mq_report_card(const struct mq_page *r, const char *chart, struct mq_buffer *out)
{
    put_front_matter(r, out);
    put_head(r, out);
    put_broken(r, out);
    put_files(r, out);
    if (chart) {
        mq_buffer_puts(out, "![Size against KL divergence](");
        mq_escape(out, chart, url_char);
        mq_buffer_puts(out, ")\n\n");
    }
    put_choice(r, out);
    if (!mq_report_broken(r))
        put_run(r, out);
    put_measured(r, out);
    if (source_text(r, "license")[0])
        mq_buffer_puts(out, "The license is the original's.\n");
    else
        mq_buffer_puts(
            out, "The original's license holds; its card names none that could be copied here.\n");
}
