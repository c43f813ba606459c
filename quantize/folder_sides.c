/* folder_sides.c: the small files beside the weights in a folder for another runtime. */
#include "folder_int.h"

#include "error.h"
#include "file.h"
#include "hf_int.h"
#include "text_match.h"

#include <stdio.h>
#include <string.h>

/* Of a Hugging Face folder, byte for byte; '*' stands for any characters. Whatever else lies there (weights, their index, other
 * programs' files, pictures) belongs to the original. */
static const char *const copied[] = {
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "tokenizer.model",
    "tekken.json",
    "tiktoken.model",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
    "*.py",
    "license*",
    "notice*",
};
enum { FILE_CAP = 256 << 20 };

moeq_status mq_folder_text_file(const struct mq_folder_job *job, const char *name,
                                struct mq_buffer *text, struct mq_plan_file *f)
{
    *f = (struct mq_plan_file){
        .name = name,
        .header = mq_buffer_ok(text)
                      ? mq_arena_strndup(job->plan->arena, text->data ? text->data : "", text->size)
                      : NULL,
        .header_bytes = text->size,
        .file_bytes = text->size};
    mq_buffer_free(text);
    return f->header ? MOEQ_OK : mq_fail_memory(job->err, "planning");
}

static bool is_copied(const char *name)
{
    char small[256];
    size_t n = 0;
    for (; name[n] && n + 1 < sizeof small; n++)
        small[n] = (char)(name[n] >= 'A' && name[n] <= 'Z' ? name[n] - 'A' + 'a' : name[n]);
    small[n] = '\0';
    for (size_t i = 0; !name[n] && i < sizeof copied / sizeof *copied; i++)
        if (mq_text_matches(copied[i], small))
            return true;
    return false;
}

static moeq_status copy_file(struct mq_folder_job *job, const char *folder, const char *name,
                             struct mq_plan_file *files, size_t *count)
{
    struct mq_plan *plan = job->plan;
    struct mq_buffer text = {0};
    moeq_error why = {0};
    const char *path = mq_arena_printf(plan->arena, "%s/%s", folder, name);
    const char *kept = mq_arena_strdup(plan->arena, name);
    if (!path || !kept)
        return mq_fail_memory(job->err, "planning");
    if (mq_path_is_folder(path))
        return MOEQ_OK;
    const moeq_status status = mq_file_read_all(path, FILE_CAP, &text, &why);
    if (status == MOEQ_LIMIT) {
        mq_plan_warn(plan, mq_arena_printf(plan->arena, "%s is left out: it is larger than %d MiB",
                                           name, FILE_CAP >> 20));
        return MOEQ_OK;
    }
    return status == MOEQ_OK ? mq_folder_text_file(job, kept, &text, &files[(*count)++])
                             : mq_fail_with(job->err, &why);
}

static moeq_status copy_all(struct mq_folder_job *job, struct mq_plan_file *files, size_t *count)
{
    struct mq_hf_listing listing;
    char folder[MQ_FOUND_PATH];
    const size_t first = *count;
    MQ_TRY(mq_model_find(job->plan->view->path, folder, job->err));
    MQ_TRY(mq_hf_list(folder, job->plan->arena, &listing, job->err));
    for (size_t i = 0; i < listing.count; i++)
        if (is_copied(listing.names[i]) && *count - first < MQ_FOLDER_SIDES)
            MQ_TRY(copy_file(job, folder, listing.names[i], files, count));
    return MOEQ_OK;
}

static moeq_status put_side(struct mq_folder_job *job, const char *name, const char *bytes,
                            size_t n, struct mq_plan_file *files, size_t *count)
{
    struct mq_buffer text = {0};
    mq_buffer_append(&text, bytes, n);
    return mq_folder_text_file(job, name, &text, &files[(*count)++]);
}

/* What a moeq or GGUF file carries. A tokenizer.json alone has no class that Transformers would know it by. */
static moeq_status put_carried(struct mq_folder_job *job, struct mq_plan_file *files, size_t *count)
{
    static const char by_itself[] = "{\"tokenizer_class\": \"PreTrainedTokenizerFast\"}\n";
    const struct mq_buffer *side = job->plan->view->side;
    for (int i = 0; i < MQ_SIDE_COUNT; i++)
        if (i != MQ_SIDE_CONFIG && mq_side_files[i].file_name && side[i].size)
            MQ_TRY(put_side(job, mq_side_files[i].file_name, side[i].data, side[i].size, files,
                            count));
    if (side[MQ_SIDE_TOKENIZER].size && !side[MQ_SIDE_TOKENIZER_CONFIG].size)
        MQ_TRY(put_side(job, mq_side_files[MQ_SIDE_TOKENIZER_CONFIG].file_name, by_itself,
                        strlen(by_itself), files, count));
    if (!side[MQ_SIDE_TOKENIZER].size)
        mq_plan_warn(
            job->plan,
            "there is no tokenizer in the source: copy the original's files beside the output's");
    return MOEQ_OK;
}

moeq_status mq_folder_sides(struct mq_folder_job *job, struct mq_plan_file *files, size_t *count)
{
    switch (job->plan->view->kind) {
    case MQ_VIEW_FOLDER:
        return copy_all(job, files, count);
    case MQ_VIEW_CONFIG:
        return MOEQ_OK;
    default:
        return put_carried(job, files, count);
    }
}
