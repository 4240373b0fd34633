// Package xfrmstat reads what the kernel counts of IPsec packets that it dropped, for the whole network namespace.
package xfrmstat

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// Path is where the kernel shows its counters; it has them with CONFIG_XFRM_STATISTICS.
const Path = "/proc/self/net/xfrm_stat"

// Read reads a file like Path: the counters since the namespace was made, by the kernel's names (net/xfrm/xfrm_proc.c). An error
// that wraps fs.ErrNotExist says that the kernel does not count.
func Read(path string) (map[string]uint64, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("xfrm statistics: %w", err)
	}
	defer func() { _ = f.Close() }() // only read
	out, err := parse(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return out, nil
}

func parse(r io.Reader) (map[string]uint64, error) {
	out := make(map[string]uint64)
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) == 0 {
			continue
		}
		if len(words) != 2 {
			return nil, fmt.Errorf("line %q: not a name and a number", lines.Text())
		}
		n, err := strconv.ParseUint(words[1], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("line %q: %w", lines.Text(), err)
		}
		out[words[0]] = n
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	return out, nil
}
