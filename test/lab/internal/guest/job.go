// Package guest is the lab on the inside: it prepares the environment of the command that labrun was asked to run,
// as process 1 of the guest or of a PID namespace, runs it, and reports how it ended.
package guest

import (
	"encoding/json"
	"fmt"
	"os"
)

// Job is what process 1 has to do. The host writes it to a file before it starts anything.
type Job struct {
	VM      bool     // in a virtual machine, as opposed to namespaces of the machine itself
	Argv    []string // the command; Argv[0] is looked up in the PATH of Env
	Dir     string   // its working directory
	Env     []string // its whole environment
	Results string   // folder to mount the writable share at
	Modules string   // folder with the modules of the guest's kernel; none where the root file system has them
	// Checkout is the folder to mount the checkout's share at, read-only; none where the root file system has it.
	Checkout string
}

// Write stores the job at path.
func (j Job) Write(path string) error {
	data, err := json.Marshal(j)
	if err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o600)
}

// ReadJob reads what Write wrote.
func ReadJob(path string) (Job, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Job{}, err
	}
	var j Job
	if err := json.Unmarshal(data, &j); err != nil {
		return Job{}, fmt.Errorf("%s: %w", path, err)
	}
	return j, nil
}

// Messages on the control port: one word a line, from the guest ready and "exit <code>", from the host quit.
const (
	MessageReady = "ready"
	MessageExit  = "exit"
	MessageQuit  = "quit"
)
