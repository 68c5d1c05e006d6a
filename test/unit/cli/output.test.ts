/** What commands write has been read, or could have been, when they end. */
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { runOk } from '../../support/cli.ts'
import { tempDir } from '../../support/temp-dir.ts'

const SRC = join(import.meta.dirname, '../../../src')
/** Of a pipe of Linux. */
const PIPE_BYTES = 65_536
const TAIL_BYTES = 100

/** Ends as the program does, with a pipe that is full and a last piece that no longer fits. */
const PROGRAM = `
  import { watchOutput, writeOutput } from '${SRC}/cli/output.ts'
  import { endProcess } from '${SRC}/support/end-process.ts'
  const outputFailure = watchOutput()
  await writeOutput((async function* () { yield Buffer.alloc(${PIPE_BYTES}); yield Buffer.alloc(${TAIL_BYTES}) })())
  console.error('written')
  endProcess((await outputFailure()) ? 1 : 0)`

/** Its exit code and what a command of the shell prints that reads what it wrote, but only then: Node would connect its children by sockets. */
async function pipeTo(reader: string): Promise<string[]> {
  await using dir = await tempDir()
  const script = `mkfifo "$0/written"
    { "$1" --input-type=module --eval "$2" 2> "$0/written"; echo $? > "$0/code"; } |
      { read -r _ < "$0/written"; ${reader}; }
    cat "$0/code"`
  return (await runOk('sh', ['-c', script, dir.path, process.execPath, PROGRAM])).trim().split('\n')
}

test('a reader that is slow loses nothing', async () => {
  expect(await pipeTo('wc -c')).toEqual([String(PIPE_BYTES + TAIL_BYTES), '0'])
})

test('a reader that leaves is no failure, and is not waited for', async () => {
  expect(await pipeTo('echo gone')).toEqual(['gone', '0'])
})
