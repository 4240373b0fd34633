// Package rows measures bordergw beside its peers inside the lab. Each row of docs/performance.md that needs a kernel is a test behind the build
// tag "bench"; the program test/bench compiles and runs them. Nothing is asserted about time: what is measured is left in the results.
package rows
