import { CLOUDS } from '../support/clouds.ts'
import { cloudSuites } from './cloud.ts'

await cloudSuites(CLOUDS.webdav)
