/* losses_print.c: matrices that lost more than usual are never left out. */
#include "losses_print.h"

#include "model_options.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void mq_print_losses(const struct mq_options *options, const char *name,
                     const struct mq_losses *losses)
{
    enum { SHOWN = 8 };
    char sentence[256];
    if (!losses->count)
        return;
    snprintf(sentence, sizeof sentence,
             "%.60s%s%" PRIu64 " matri%s lost more than usual at %s level%s", name ? name : "",
             name ? ": " : "", losses->count,
             losses->count == 1 ? "x" : "ces", losses->count == 1 ? "its" : "their",
             losses->count == 1 ? "" : "s");
    if (losses->far_count)
        snprintf(sentence + strlen(sentence), sizeof sentence - strlen(sentence),
                 "; weights of %" PRIu64 " are beyond the range of the level's scales",
                 losses->far_count);
    mq_print_note(options, sentence);
    for (size_t i = 0; !options->quiet && i < losses->listed_count && i < SHOWN; i++) {
        const struct mq_lossy *l = &losses->listed[i];
        printf("    %-8s %9.4f (usual: %.4f)  %s\n", l->level->name, l->error,
               l->expected, mq_tensor_shown(l->tensor));
    }
    if (!options->quiet && losses->count > SHOWN)
        printf("    ... and %" PRIu64 " more\n", losses->count - SHOWN);
}
