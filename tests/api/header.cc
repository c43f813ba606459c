// The installed header from C++, as an embedder would use it.
#include "moeq.h"

int main()
{
    moeq_error err = {0};
    moeq_card card = {0};
    moeq_recipe recipe = {0};
    card.struct_size = sizeof card;
    recipe.card = &card;
    moeq_model *model = nullptr;
    return recipe.struct_size == 0 && moeq_model_open("", &model, &err) == MOEQ_OK;
}
