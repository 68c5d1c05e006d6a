import { readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { type ProfileEntry, parseProfile, printProfile } from '../mount/tree/profile.ts'
import { StoreError, systemCode } from '../support/errors.ts'
import { outputError } from './output.ts'

/** Throws `not-found` or `invalid-argument`, naming the file. */
export async function readProfile(file: string): Promise<ProfileEntry[]> {
  try {
    return parseProfile(await readFile(file, 'utf8'), file)
  } catch (error) {
    if (error instanceof StoreError) throw error
    const code = systemCode(error) === 'ENOENT' ? 'not-found' : 'invalid-argument'
    throw new StoreError(code, `the profile cannot be read: ${(error as Error).message}`, { cause: error })
  }
}

/** So that it is known before the work that is recorded, and not after it. */
export async function checkProfileTarget(file: string): Promise<void> {
  const temp = tempName(file)
  try {
    await writeFile(temp, '')
    await rm(temp)
    const there = await stat(file).catch(() => undefined)
    if (there?.isDirectory()) throw new Error('it is a folder; name a file')
  } catch (error) {
    throw outputError(file, error)
  }
}

/** Replaces what was there only when all of it is written. */
export async function writeProfile(file: string, entries: Iterable<ProfileEntry>): Promise<void> {
  const temp = tempName(file)
  try {
    await writeFile(temp, printProfile(entries))
    await rename(temp, file)
  } catch (error) {
    throw outputError(file, error)
  }
}

function tempName(file: string): string {
  return `${file}.${process.pid}.tmp`
}
