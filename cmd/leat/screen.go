package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
)

// screen keeps a block of lines at the end of a terminal: what is written
// meanwhile goes above it.
type screen struct {
	mu    sync.Mutex
	w     io.Writer
	block string
}

// Write implements io.Writer for everything but the block.
func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.block == "" {
		return s.w.Write(p)
	}
	if _, err := io.WriteString(s.w, s.erase()+string(p)+s.block); err != nil {
		return 0, err
	}
	return len(p), nil
}

// show replaces the block.
func (s *screen) show(block string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := io.WriteString(s.w, s.erase()+block)
	s.block = block
	return err
}

// leave lets the block stand where it is: what follows is written below it.
func (s *screen) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.block = ""
}

func (s *screen) erase() string {
	if n := strings.Count(s.block, "\n"); n > 0 {
		return fmt.Sprintf("\x1b[%dA\x1b[J", n)
	}
	return ""
}
