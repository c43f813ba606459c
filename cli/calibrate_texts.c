/* calibrate_texts.c: see calibrate_texts.h. */
#include "calibrate_texts.h"

#include "calibrated_option.h"
#include "error.h"
#include "file.h"
#include "json.h"
#include "open_options.h"
#include "output_path.h"
#include "token_profile.h"
#include "text_match.h"
#include "text_option.h"
#include "what_is_it.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

/* ---- the command line ---- */

static struct mq_domain *find(const struct mq_domains *d, const char *name)
{
    for (size_t i = 0; i < d->count; i++)
        if (strcmp(d->all[i].name, name) == 0)
            return &d->all[i];
    return NULL;
}

static enum mq_exit no_memory(void)
{
    moeq_error err = {0};
    mq_fail_memory(&err, "naming the texts");
    return mq_report(&err);
}

static enum mq_exit add_text(struct mq_domains *d, size_t values, const char *value)
{
    const char *path;
    const size_t n = mq_text_option_split(value, &path);
    const char *base = strcmp(path, "-") == 0 ? "standard input" : mq_base_name(path);
    char *name = n ? strndup(value, n) : strdup(base);
    size_t bad;
    if (!name)
        return no_memory();
    if (!path[0] || !mq_utf8_valid(name, strlen(name), &bad)) {
        mq_usage("calibrate", "--text '%s': expected FILE or NAME=FILE%s", value,
                 path[0] ? ", with a name in UTF-8" : "");
        free(name);
        return MQ_EXIT_USAGE;
    }
    mq_make_printable(name);
    struct mq_domain *domain = find(d, name);
    if (!domain) {
        domain = &d->all[d->count++];
        domain->name = name;
        domain->paths = calloc(values, sizeof *domain->paths);
    } else {
        free(name);
    }
    if (domain->paths)
        domain->paths[domain->paths_count++] = path;
    return domain->paths ? MQ_EXIT_GOOD : no_memory();
}

/* The domain that is held out goes last. */
static enum mq_exit hold_out(struct mq_domains *d, const char *name)
{
    struct mq_domain *held = find(d, name);
    if (!held) {
        const char **names = calloc(d->count + 1, sizeof *names);
        for (size_t i = 0; names && i < d->count; i++)
            names[i] = d->all[i].name;
        const char *near = names ? mq_nearest(name, names, d->count) : NULL;
        mq_usage("calibrate", "--holdout '%s': no text has that name%s%s%s", name,
                 near ? "; did you mean " : " (--text NAME=FILE gives it one)", near ? near : "",
                 near ? "?" : "");
        free(names);
        return MQ_EXIT_USAGE;
    }
    if (d->count == 1) {
        mq_usage("calibrate", "--holdout '%s': it is the only text, so nothing would be left",
                 name);
        return MQ_EXIT_USAGE;
    }
    const struct mq_domain it = *held;
    memmove(held, held + 1, (size_t)(d->all + d->count - held - 1) * sizeof *held);
    d->all[d->count - 1] = it;
    d->holds_out = true;
    return MQ_EXIT_GOOD;
}

/* Token ids, as one domain. */
static enum mq_exit use_ids(struct mq_domains *d, const struct mq_options *options)
{
    const char *name =
        strcmp(options->ids, "-") == 0 ? "standard input" : mq_base_name(options->ids);
    size_t bad;
    *d = (struct mq_domains){.all = calloc(1, sizeof *d->all)};
    if (!d->all)
        return no_memory();
    if (options->text.count || options->holdout) {
        mq_usage("calibrate", "--ids and --%s exclude each other",
                 options->text.count ? "text" : "holdout");
        return MQ_EXIT_USAGE;
    }
    d->all[0].name = strdup(mq_utf8_valid(name, strlen(name), &bad) ? name : "ids");
    d->count = d->all[0].name != NULL;
    return d->count > 0 ? MQ_EXIT_GOOD : no_memory();
}

enum mq_exit mq_domains_parse(const struct mq_options *options, struct mq_domains *d)
{
    const size_t values = options->text.count;
    if (options->ids)
        return use_ids(d, options);
    *d = (struct mq_domains){.all = calloc(values + 1, sizeof *d->all)};
    if (!d->all)
        return no_memory();
    enum mq_exit code = MQ_EXIT_GOOD;
    for (size_t i = 0; i < values && code == MQ_EXIT_GOOD; i++)
        code = add_text(d, values, options->text.values[i]);
    return code == MQ_EXIT_GOOD && options->holdout ? hold_out(d, options->holdout) : code;
}

/* ---- reading ---- */

static moeq_status read_domain(const struct mq_options *options, struct mq_view *view,
                               struct mq_domain *domain, moeq_error *err)
{
    const struct mq_protocol_options protocol = {.context = options->context,
                                                 .max_tokens = options->tokens};
    char note[MQ_TEXT_NOTE_BYTES];
    if (!domain->paths_count) {
        struct mq_file identity;
        MQ_TRY(mq_calibrated_option_ids(options, view, &domain->windows, &identity, err));
        return mq_refuse_output(view, &identity, options->output, err);
    }
    for (size_t i = 0; i < domain->paths_count; i++)
        MQ_TRY(mq_refuse_no_text(domain->paths[i], err));
    MQ_TRY(mq_text_read(domain->paths, domain->paths_count, &domain->text, err));
    if (mq_text_note(&domain->text, note))
        MQ_TRY(mq_view_note(view, err, "%s", note));
    for (size_t i = 0; i < domain->text.count; i++) {
        const struct mq_text_source *s = &domain->text.sources[i];
        const struct mq_file file = {.device = s->device, .inode = s->inode};
        MQ_TRY(mq_refuse_output(view, &file, options->output, err));
        for (size_t k = 0; k < i; k++)
            if (mq_text_same_source(&domain->text, k, &domain->text, i))
                return mq_fail(err, MOEQ_INVALID_ARGUMENT,
                               "--text: '%s' and '%s' are the same: they would count twice",
                               domain->text.sources[k].name, s->name);
    }
    return mq_protocol_text(&protocol, view, &domain->text, &domain->windows, err);
}

static struct mq_calibration_text describe(const struct mq_domain *domain)
{
    const struct mq_windows *w = &domain->windows.windows;
    const struct mq_text *t = &domain->text;
    return (struct mq_calibration_text){.name = domain->name,
                                        .tokens = w->count * w->length,
                                        .context = w->length,
                                        .bytes = t->size,
                                        .crc32 =
                                            (uint32_t)crc32_z(0, (const Bytef *)t->data, t->size),
                                        .ids_crc32 = domain->windows.ids_crc32,
                                        .common = domain->common,
                                        .profile = domain->profile.data};
}

/* Twice the same text counts twice, and one that is held out would be in the sums. */
static moeq_status refuse_twice(const struct mq_domains *d, size_t last, moeq_error *err)
{
    const struct mq_domain *b = &d->all[last];
    for (size_t i = 0; i < last; i++) {
        const struct mq_domain *a = &d->all[i];
        if (a->windows.ids_crc32 == b->windows.ids_crc32 &&
            a->windows.windows.count == b->windows.windows.count)
            return mq_fail(
                err, MOEQ_INVALID_ARGUMENT, "--text: '%s' has the same %zu tokens as '%s': %s",
                b->name, b->windows.windows.count * b->windows.windows.length, a->name,
                d->holds_out && last + 1 == d->count ? "what is held out must be another text"
                                                     : "they would count twice");
    }
    return MOEQ_OK;
}

moeq_status mq_domains_read(const struct mq_options *options, struct mq_view *view,
                            struct mq_domains *d, moeq_error *err)
{
    d->texts = calloc(d->count + 1, sizeof *d->texts);
    if (!d->texts)
        return mq_fail_memory(err, "reading texts");
    for (size_t i = 0; i < d->count; i++) {
        MQ_TRY(read_domain(options, view, &d->all[i], err));
        MQ_TRY(refuse_twice(d, i, err));
        MQ_TRY(mq_text_windows_append(&d->windows, &d->all[i].windows, err));
        const struct mq_windows *w = &d->all[i].windows.windows;
        MQ_TRY(mq_profile_count(w->ids, w->count * w->length, view->hparams.vocab,
                                &d->all[i].common, &d->all[i].profile, err));
        if (!d->holds_out || i + 1 < d->count)
            d->texts[d->texts_count++] = describe(&d->all[i]);
    }
    return MOEQ_OK;
}

void mq_domains_free(struct mq_domains *d)
{
    for (size_t i = 0; i < d->count; i++) {
        free(d->all[i].name);
        free(d->all[i].paths);
        mq_text_free(&d->all[i].text);
        mq_text_windows_free(&d->all[i].windows);
        mq_buffer_free(&d->all[i].profile);
    }
    free(d->all);
    mq_text_windows_free(&d->windows);
    free(d->texts);
    *d = (struct mq_domains){0};
}
