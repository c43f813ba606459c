/* roles.c: what tensors do: names, and which option of `convert` decides their level. */
#include "roles.h"

#include <stdio.h>

static const struct {
    const char *name;
    enum mq_role_class group;
} roles[] = {
#define ROW(id, name, group) {name, MQ_CLASS_##group},
    MQ_ROLE_LIST(ROW)
#undef ROW
};

const char *mq_role_name(enum mq_role role)
{
    return roles[role].name;
}

bool mq_role_is_carried(enum mq_role role)
{
    return role >= MQ_ROLE_INDEXER_Q && role <= MQ_ROLE_INDEXER_WEIGHTS;
}

enum mq_role_class mq_role_class(enum mq_role role)
{
    return roles[role].group;
}

const char *mq_role_class_name(enum mq_role_class group)
{
    static const char *const names[] = {
        [MQ_CLASS_EXPERTS] = "experts and MLP",
        [MQ_CLASS_SHARED] = "shared and dense MLP",
        [MQ_CLASS_ATTENTION] = "attention",
        [MQ_CLASS_EMBEDDINGS] = "embeddings and head",
        [MQ_CLASS_KEEP] = "router and norms",
    };
    return names[group];
}

void mq_role_place(int32_t layer, int32_t expert, const char *role, char *text, size_t room)
{
    char of_layer[32] = "", of_expert[32] = "";
    if (layer >= 0)
        snprintf(of_layer, sizeof of_layer, "layer %d, ", layer);
    if (expert >= 0)
        snprintf(of_expert, sizeof of_expert, "expert %d, ", expert);
    snprintf(text, room, "%s%s%s", of_layer, of_expert, role);
}
