import type { Dirent } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { type Call, throwIfAborted } from '../../support/call.ts'
import { fileError, saysAbsent } from './file-error.ts'
import { checkKey, isKey } from './key.ts'

/** The keys that begin with `prefix`: the paths of all files below `root` that are objects. */
export async function* listKeys(root: string, prefix: string, call?: Call): AsyncGenerator<string> {
  const slash = prefix.lastIndexOf('/')
  const folder = slash < 0 ? '' : prefix.slice(0, slash + 1)
  if (folder !== '') checkKey(folder.slice(0, -1))
  yield* walk(root, folder, prefix.slice(slash + 1), call)
}

/** Keys below `folder` ('' or with a slash at the end); `prefix` narrows the first level. */
async function* walk(root: string, folder: string, prefix: string, call?: Call): AsyncGenerator<string> {
  throwIfAborted(call?.signal)
  const path = join(root, folder)
  let entries: Dirent[]
  try {
    entries = await readdir(path, { withFileTypes: true })
  } catch (error) {
    if (saysAbsent(error)) return
    throw fileError(`listing ${path}`, error)
  }
  for (const entry of entries) {
    // Names that are no keys are temp files, ours or those of other programs.
    if (!entry.name.startsWith(prefix) || !isKey(entry.name)) continue
    if (entry.isDirectory()) yield* walk(root, `${folder}${entry.name}/`, '', call)
    else if (entry.isFile()) yield folder + entry.name
  }
}
