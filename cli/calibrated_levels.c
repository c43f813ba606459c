/* calibrated_levels.c: conversions to files that only their reader sees. */
#include "calibrated_levels.h"

#include "calibrated_option.h"
#include "convert.h"
#include "error.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool is_calibrated(const struct mq_options *o)
{
    return o->effort && strcmp(o->effort, MQ_EFFORT_CALIBRATED) == 0;
}

bool mq_calibrated_levels_check(const struct mq_options *options)
{
    if (is_calibrated(options) && !options->calibration_text.count) {
        mq_usage("sweep",
                 "--effort calibrated needs --calibration-text FILE, another text than --text");
        return false;
    }
    if (options->calibration_text.count && !is_calibrated(options)) {
        mq_usage("sweep", "--calibration-text goes with --effort calibrated");
        return false;
    }
    if (is_calibrated(options) && options->attribute) {
        mq_usage("sweep",
                 "--attribute quantizes parts without a text: leave --effort calibrated out");
        return false;
    }
    return true;
}

/* Everything in the folder, and the folder. */
static void remove_folder(const char *folder)
{
    DIR *dir = opendir(folder);
    for (struct dirent *e; dir && (e = readdir(dir)) != NULL;) {
        char path[PATH_MAX];
        snprintf(path, sizeof path, "%.2000s/%.255s", folder, e->d_name);
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            unlink(path);
    }
    if (dir)
        closedir(dir);
    rmdir(folder);
}

/* Every rank makes its own: their hosts have no other place in common that is known. */
static moeq_status make(const struct mq_options *options, const struct mq_context *context,
                        const struct mq_view *source, struct mq_calibrated_option *calibrated,
                        const struct mq_policy *policy, const char *path, struct mq_view **made,
                        moeq_error *err)
{
    struct mq_context alone = *context;
    alone.peers = NULL;
    calibrated->run.context = &alone;
    const struct mq_convert_encoder encoder = {.user = &calibrated->run, .run = mq_calibrated_run};
    const struct mq_convert_options how = {.output = path, .replace = true, .allow_loss = options->allow_loss,
                                           .encoder = &encoder};
    struct mq_convert_result result;
    struct mq_plan *plan;
    MQ_TRY(mq_convert_plan(&alone, source, policy, NULL, 0, &plan, err));
    moeq_status status = mq_convert(&alone, plan, &how, &result, err);
    mq_plan_free(plan);
    return status == MOEQ_OK ? mq_open_model(options, path, made, err) : status;
}

moeq_status mq_calibrated_levels_make(const struct mq_options *options,
                                      const struct mq_context *context, struct mq_view *source,
                                      const struct mq_text *judging,
                                      struct mq_candidate *candidates, size_t count,
                                      struct mq_view **made, char sentence[MQ_CALIBRATED_SENTENCE],
                                      moeq_error *err)
{
    struct mq_options own = *options;
    struct mq_calibrated_option calibrated = {0};
    const char *place = getenv("TMPDIR");
    char folder[2048], path[PATH_MAX];
    moeq_status status = MOEQ_OK;
    if (!is_calibrated(options))
        return MOEQ_OK;
    own.text = options->calibration_text;
    own.context = own.tokens = 0; /* those of --text */
    own.calibration = NULL;       /* the policies have it already */
    snprintf(folder, sizeof folder, "%.2000s/moeq-sweep-XXXXXX", place && *place ? place : "/tmp");
    if (!mkdtemp(folder))
        return mq_fail_file(err, MOEQ_IO, folder, "cannot make a folder (TMPDIR): %s",
                            strerror(errno));
    for (size_t i = 0; i < count; i++) {
        mq_calibrated_option_free(&calibrated);
        MQ_TRY_OUT(mq_calibrated_option_read(&own, source, judging, &calibrated,
                                             &candidates[i].policy, err));
        calibrated.run.options.keep_seconds = -1; /* nothing goes on with what is made here */
        snprintf(path, sizeof path, "%s/%zu.moeq", folder, i);
        MQ_TRY_OUT(make(options, context, source, &calibrated, &candidates[i].policy, path,
                        &made[i], err));
        made[i]->removed = true;
        unlink(path); /* it is open; so a run that is killed leaves one level's at most */
        candidates[i].made = made[i];
        snprintf(sentence, MQ_CALIBRATED_SENTENCE, "%s", calibrated.sentence);
        candidates[i].policy.calibration = sentence; /* the option's own is freed */
        candidates[i].policy.calibrated_on = made[i]->calibrated_on;
    }
out:
    mq_calibrated_option_free(&calibrated);
    remove_folder(folder);
    return status;
}
