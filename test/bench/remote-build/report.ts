import { type Build, megabytes, type RemoteBuild } from './remote-build.ts'

/** Prints what it came to. */
export function printRemoteBuild(result: RemoteBuild): void {
  const { local, copied, remote, recorded, profiled, copying, closureBytes } = result
  const touched = recorded.stats!.store.chunks.fetchedBytes
  console.log(`
The toolchain: ${result.packages} packages, ${megabytes(closureBytes)}. The link: ${result.link}.
${Object.keys(remote.outputs).length} outputs, ${isSame(result) ? 'the same to the byte in every build' : 'NOT the same in every build'}.

| build | over the link | of the closure | first output | total |
|---|---|---|---|---|
${row('from local disk', local, closureBytes)}
${row(`copying first (${copying.toFixed(2)} s of it)`, copied, closureBytes)}
${row('from the mount, cold', remote, closureBytes)}
${row('… while recording a profile', recorded, closureBytes)}
${row('… with the profile, cold', profiled, closureBytes)}

| | against | ratio | target |
|---|---|---|---|
| time of the build from the mount | copying first | ${ratio(remote.total, copied.total)} | 0.50 |
| bytes of the build from the mount | copying first | ${ratio(remote.bytes, copied.bytes)} | 0.15 |
| bytes with the profile | the chunks that were touched (${megabytes(touched)}) | ${ratio(profiled.bytes, touched)} | 1.30 |
| time with the profile | without | ${ratio(profiled.total, remote.total)} | 0.70 |
`)
}

/** Whether every build made the same. */
export function isSame({ local, copied, remote, recorded, profiled }: RemoteBuild): boolean {
  const wanted = JSON.stringify(local.outputs)
  return [copied, remote, recorded, profiled].every(({ outputs }) => JSON.stringify(outputs) === wanted)
}

function row(title: string, { bytes, firstOutput, total }: Build, closureBytes: number): string {
  const share = `${((100 * bytes) / closureBytes).toFixed(1)} %`
  return `| ${title} | ${megabytes(bytes)} | ${share} | ${firstOutput.toFixed(2)} s | ${total.toFixed(2)} s |`
}

function ratio(ours: number, baseline: number): string {
  return (ours / baseline).toFixed(2)
}
