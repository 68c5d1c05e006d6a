import { describe, it } from 'vitest'
import type { Case } from '../conformance/suite.ts'
import { attributesCases } from './attributes.ts'
import { contentsCases } from './contents.ts'
import { lookupCases } from './lookup.ts'
import type { MountedSample } from './mounted.ts'
import { readOnlyCases } from './read-only.ts'
import { readdirCases } from './readdir.ts'

/** What every mount of the sample tree (sample.ts) must do, whoever serves it. */
export const posixCases: Readonly<Record<string, readonly Case<MountedSample>[]>> = {
  listing: readdirCases,
  'looking up': lookupCases,
  attributes: attributesCases,
  contents: contentsCases,
  'read-only': readOnlyCases,
}

/** Declares a test for every case. They share one mount, which changes nothing for them: it is read-only. */
export function posixSuite(sample: () => MountedSample): void {
  for (const [name, cases] of Object.entries(posixCases))
    describe(name, () => {
      for (const { title, run } of cases) it(title, () => run(sample()))
    })
}
