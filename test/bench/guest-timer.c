/*
 * Times what a program in a guest does with a filesystem; static, and the same for every filesystem.
 *   walk DIR: lists everything below and asks for its attributes; prints entries and seconds
 *   small DIR COUNT: opens, reads and closes DIR/d0/f0, …; 100 files a directory; prints files and seconds
 *   large FILE: reads it in pieces of 1 MiB; prints bytes and seconds
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static char buffer[1 << 20];

static double now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static long walk(int folder)
{
	long count = 0;
	DIR *stream = folder < 0 ? NULL : fdopendir(folder);
	if (!stream)
		fail("opening a folder");
	for (struct dirent *entry; (entry = readdir(stream));) {
		struct stat status;
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (fstatat(folder, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) < 0)
			fail("fstatat");
		count++;
		if (S_ISDIR(status.st_mode))
			count += walk(openat(folder, entry->d_name, O_RDONLY | O_DIRECTORY));
	}
	closedir(stream);
	return count;
}

static long read_small(const char *root, long count)
{
	char path[4096];
	for (long i = 0; i < count; i++) {
		snprintf(path, sizeof path, "%s/d%ld/f%ld", root, i / 100, i % 100);
		int fd = open(path, O_RDONLY);
		if (fd < 0 || read(fd, buffer, sizeof buffer) <= 0)
			fail(path);
		close(fd);
	}
	return count;
}

static long read_large(const char *path)
{
	long total = 0, got;
	int fd = open(path, O_RDONLY);
	if (fd < 0)
		fail(path);
	while ((got = read(fd, buffer, sizeof buffer)) > 0)
		total += got;
	if (got < 0)
		fail(path);
	close(fd);
	return total;
}

int main(int argc, char **argv)
{
	long count = 0;
	double start = now();
	if (argc == 3 && strcmp(argv[1], "walk") == 0)
		count = walk(open(argv[2], O_RDONLY | O_DIRECTORY));
	else if (argc == 4 && strcmp(argv[1], "small") == 0)
		count = read_small(argv[2], atol(argv[3]));
	else if (argc == 3 && strcmp(argv[1], "large") == 0)
		count = read_large(argv[2]);
	else
		return 64;
	printf("%ld %.6f\n", count, now() - start);
	return 0;
}
