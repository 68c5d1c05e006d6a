/** What an operator of mounts over a bucket writes: blobs in a cache on disk, directories in a near LMDB. */
export function farComposition(folder: string, bucket: string, pathInfos: string): string {
  return `
[blobservices.root]
type = "cache-dir"
path = "${folder}/cache"
far = "${bucket}"

[directoryservices.root]
type = "cache"
near = "lmdb://${folder}/near.lmdb"
far = "${bucket}"

[pathinfoservices.root]
type = "lmdb"
path = "${pathInfos}"
`
}
