#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>

#include "sha256_library.h"

static struct {
	void *(*new)(void);
	void (*free)(void *);
	const void *(*sha256)(void);
	int (*init)(void *, const void *, void *);
	int (*update)(void *, const void *, size_t);
	int (*final)(void *, unsigned char *, unsigned *);
} library;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool found;

static void find(void)
{
	const struct {
		void *function;
		const char *name;
	} symbols[] = {
	    {&library.new, "EVP_MD_CTX_new"},	     {&library.free, "EVP_MD_CTX_free"},
	    {&library.sha256, "EVP_sha256"},	     {&library.init, "EVP_DigestInit_ex"},
	    {&library.update, "EVP_DigestUpdate"}, {&library.final, "EVP_DigestFinal_ex"},
	};
	for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++)
		if (!(*(void **)symbols[i].function = dlsym(RTLD_DEFAULT, symbols[i].name)))
			return;
	found = true;
}

bool sha256_found(void)
{
	return pthread_once(&once, find) == 0 && found;
}

void *sha256_new(void)
{
	void *hash = library.new();
	if (hash && library.init(hash, library.sha256(), NULL) == 1)
		return hash;
	library.free(hash);
	return NULL;
}

void sha256_free(void *hash)
{
	library.free(hash);
}

bool sha256_update(void *hash, const void *bytes, size_t length)
{
	return library.update(hash, bytes, length) == 1;
}

bool sha256_final(void *hash, uint8_t digest[SHA256_BYTES])
{
	unsigned length;
	return library.final(hash, digest, &length) == 1 && length == SHA256_BYTES;
}
