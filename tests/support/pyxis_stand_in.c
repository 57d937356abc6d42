/* Stands in for pyxis, SLURM's plugin for containers: takes its options, and gives tasks their mounts.
 *
 * There is no image: the host's own files stand in for it, but for one folder, which is empty there except for
 * what is mounted. Of the options, a file keeps a line of every task.
 *   required .../pyxis_stand_in.so FOLDER FILE
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <slurm/spank.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

SPANK_PLUGIN(pyxis, 1)

enum { IMAGE, MOUNTS, WORKDIR, OPTIONS };
static char *given[OPTIONS];

static int take(int which, const char *value, int remote) {
  (void)remote;
  given[which] = strdup(value);
  return 0;
}

static struct spank_option options[OPTIONS] = {
    {"container-image", "IMAGE", "[pyxis] the image", 1, IMAGE, take},
    {"container-mounts", "SRC:DST[:FLAGS],...", "[pyxis] bind mounts", 1, MOUNTS, take},
    {"container-workdir", "PATH", "[pyxis] working directory", 1, WORKDIR, take},
};

int slurm_spank_init(spank_t spank, int argc, char *argv[]) {
  (void)argc, (void)argv;
  for (int which = 0; which < OPTIONS; which++)
    if (spank_option_register(spank, &options[which]) != ESPANK_SUCCESS) return -1;
  return 0;
}

static int failed(const char *what) {
  slurm_error("pyxis stand-in: %s: %s", what, strerror(errno));
  return -1;
}

static void make_folders(const char *path) {
  char folder[PATH_MAX];
  for (size_t end = 1; end <= strlen(path) && end < sizeof folder; end++)
    if (path[end] == '/' || path[end] == '\0') {
      snprintf(folder, sizeof folder, "%.*s", (int)end, path);
      mkdir(folder, 0755);
    }
}

/* Hide a folder, and mount what lies in it, or elsewhere, where it is asked for. */
static int make_view(const char *hidden, char *mounts) {
  struct { int source; char *target; } view[64];
  int count = 0;
  if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL)) return failed("unshare");
  for (char *mount = strtok(mounts, ","); mount && count < 64; mount = strtok(NULL, ",")) {
    char *target = strchr(mount, ':');
    if (!target) return failed(mount);
    *target++ = '\0';
    target[strcspn(target, ":")] = '\0';
    view[count].source = open(mount, O_PATH);
    view[count].target = target;
    if (view[count++].source < 0) return failed(mount);
  }
  if (mount("none", hidden, "tmpfs", 0, NULL)) return failed(hidden);
  for (int each = 0; each < count; each++) {
    char source[64];
    snprintf(source, sizeof source, "/proc/self/fd/%d", view[each].source);
    make_folders(view[each].target);
    if (mount(source, view[each].target, NULL, MS_BIND | MS_REC, NULL)) return failed(view[each].target);
    close(view[each].source);
  }
  return 0;
}

int slurm_spank_task_init_privileged(spank_t spank, int argc, char *argv[]) {
  (void)spank;
  if (!given[IMAGE]) return 0;
  if (argc != 2 || !given[MOUNTS] || !given[WORKDIR]) return -1;
  FILE *kept = fopen(argv[1], "a");
  if (!kept) return failed(argv[1]);
  fprintf(kept, "%s %s %s\n", given[IMAGE], given[MOUNTS], given[WORKDIR]);
  fclose(kept);
  return make_view(argv[0], given[MOUNTS]);
}

int slurm_spank_task_init(spank_t spank, int argc, char *argv[]) {
  (void)spank, (void)argc, (void)argv;
  return given[IMAGE] && chdir(given[WORKDIR]) ? failed(given[WORKDIR]) : 0;
}
