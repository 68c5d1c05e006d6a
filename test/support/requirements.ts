import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'

/**
 * What this machine has of the real counterparts. Tests that need one that is missing are skipped with its name in
 * the title, so that the count of skipped tests tells what was not proven here.
 */
export function hasProgram(name: string): boolean {
  try {
    execFileSync('sh', ['-c', `command -v ${name}`], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

export const IS_ROOT = process.getuid?.() === 0
export const CAN_MOUNT = IS_ROOT && existsSync('/dev/fuse')
export const HAS_NIX = hasProgram('nix-store')

/** `scripts/test --full`: what takes longer than continuous integration may. */
export const FULL = process.env['TVIX_STORE_TEST_FULL'] === '1'
