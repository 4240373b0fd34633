package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"
)

// stage is the lab's T for a program: it stops at the first failure and cleans up.
type stage struct {
	ctx   context.Context
	start time.Time

	mu      sync.Mutex
	failed  bool
	cleanup []func()
}

// run plays f and returns the exit code.
func run(f func(*stage)) int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	t := &stage{ctx: ctx, start: time.Now()}
	done := make(chan struct{})
	fmt.Println()
	go func() {
		defer close(done)
		defer t.close()
		f(t)
	}()
	<-done
	if t.Failed() {
		fmt.Println("demo: FAILED")
		return 1
	}
	return 0
}

func (t *stage) close() {
	for _, f := range slices.Backward(t.cleanup) {
		f()
	}
}

// say ends with an empty line, like everything that is shown.
func (t *stage) say(format string, args ...any) {
	fmt.Printf("[%5.1f s] %s\n\n", time.Since(t.start).Seconds(), fmt.Sprintf(format, args...))
}

func (t *stage) Helper()                  {}
func (t *stage) Name() string             { return "demo" }
func (t *stage) Context() context.Context { return t.ctx }

func (t *stage) Logf(format string, args ...any) {
	// What the lab logs belongs to a failure; it is said in one piece then.
	if t.Failed() {
		fmt.Printf(format+"\n", args...)
	}
}

func (t *stage) Errorf(format string, args ...any) {
	t.fail()
	fmt.Printf("demo: "+format+"\n", args...)
}

func (t *stage) Fatalf(format string, args ...any) {
	t.Errorf(format, args...)
	runtime.Goexit()
}

func (t *stage) fail() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failed = true
}

func (t *stage) Failed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.failed
}

func (t *stage) Cleanup(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cleanup = append(t.cleanup, f)
}

func (t *stage) TempDir() string {
	dir, err := os.MkdirTemp("", "bordergw-demo-")
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("%v", err)
		}
	})
	return dir
}
