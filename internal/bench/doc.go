// Package bench measures what docs/performance.md claims: requests of a rotation and of a
// survey, throughput against a portal's limit, CPU of survey and plan, resident memory.
// It holds tests and benchmarks only; "make bench" runs them and shows every claim with
// its limit.
package bench
