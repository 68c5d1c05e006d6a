import { expect, test } from 'vitest'
import { Counter, Gauge, Histogram, renderMetrics } from '../../../src/support/metrics.ts'

test('counters, gauges and histograms in the text format', () => {
  const calls = new Counter('calls_total', 'Calls.')
  calls.add({ method: 'Get' })
  calls.add({ method: 'Get' }, 2)
  calls.add({ method: 'a"b\\c\nd' })
  const seconds = new Histogram('seconds', 'How long.', [0.1, 1])
  for (const value of [0.1, 0.5, 1, 7]) seconds.observe({ method: 'Get' }, value)
  expect(renderMetrics([calls, new Gauge('open', 'Open.', () => 3), seconds])).toBe(
    [
      '# HELP calls_total Calls.',
      '# TYPE calls_total counter',
      'calls_total{method="Get"} 3',
      'calls_total{method="a\\"b\\\\c\\nd"} 1',
      '# HELP open Open.',
      '# TYPE open gauge',
      'open 3',
      '# HELP seconds How long.',
      '# TYPE seconds histogram',
      'seconds_bucket{method="Get",le="0.1"} 1',
      'seconds_bucket{method="Get",le="1"} 3',
      'seconds_bucket{method="Get",le="+Inf"} 4',
      'seconds_sum{method="Get"} 8.6',
      'seconds_count{method="Get"} 4',
      '',
    ].join('\n'),
  )
})
