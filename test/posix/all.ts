import { describe } from 'vitest'
import { attributesSuite } from './attributes.ts'
import { contentsSuite } from './contents.ts'
import { lookupSuite } from './lookup.ts'
import type { MountedSample } from './mounted.ts'
import { readOnlySuite } from './read-only.ts'
import { readdirSuite } from './readdir.ts'

/** What every mount of the sample tree (sample.ts) must do, whoever serves it. */
export function posixSuite(sample: () => MountedSample): void {
  describe('listing', () => readdirSuite(sample))
  describe('looking up', () => lookupSuite(sample))
  describe('attributes', () => attributesSuite(sample))
  describe('contents', () => contentsSuite(sample))
  describe('read-only', () => readOnlySuite(sample))
}
