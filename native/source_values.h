/* A chunk source, as JavaScript names it. */
#ifndef TVIX_STORE_SOURCE_VALUES_H
#define TVIX_STORE_SOURCE_VALUES_H

#include <string.h>

#include "chunk_source.h"
#include "values.h"
#include "zstd.h"

/* 0, or the number of the error: ENOSYS where its chunks cannot be decompressed here. */
static inline int source_of(napi_env env, napi_value kind, napi_value folder, struct chunk_source **source)
{
	static const char *const names[] = {[SOURCE_LOOSE] = "loose", [SOURCE_PACKS] = "packs", [SOURCE_RAW] = "raw"};
	char name[STRING_MAX], path[STRING_MAX];
	if (!string_of(env, kind, name) || !string_of(env, folder, path))
		return EINVAL;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		if (strcmp(name, names[i]) != 0)
			continue;
		if (i != SOURCE_RAW && !zstd_found())
			return ENOSYS;
		*source = open_chunk_source(i, path);
		return *source ? 0 : ENOMEM;
	}
	return EINVAL;
}

#endif
