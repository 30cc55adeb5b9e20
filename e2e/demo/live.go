package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// patience is how long the demo waits for what takes milliseconds.
const patience = 20 * time.Second

// A service is syncd while it follows the source.
type service struct {
	s      *show
	socket string
	log    bytes.Buffer
	cmd    *exec.Cmd
	ended  chan error
}

// live follows changes, and ends by cutting over to the destination.
func (s *show) live() error {
	step("the service: it copies what differs, and then every change as it happens")
	v := &service{s: s, socket: filepath.Join(s.dir, "sock"), ended: make(chan error, 1)}
	if err := v.start(); err != nil {
		return err
	}
	defer v.cmd.Process.Kill()
	if err := v.await("live"); err != nil {
		return err
	}
	if err := v.oneFile(); err != nil {
		return err
	}
	if err := v.manyChanges(); err != nil {
		return err
	}
	return v.cutover()
}

func (v *service) start() error {
	s := v.s
	args := []string{"-a", "--delete", "--control=" + v.socket, "--state-dir=" + filepath.Join(s.dir, "state"), s.src, s.dst}
	fmt.Println("$ syncd", s.short(strings.Join(args, " ")), "&")
	v.cmd = exec.Command(s.program, args...)
	v.cmd.Stderr = &v.log
	if err := v.cmd.Start(); err != nil {
		return err
	}
	go func() { v.ended <- v.cmd.Wait() }()
	return nil
}

// status is what the demo looks at of --status --json.
type status struct {
	State  string
	InSync *time.Time `json:"in_sync_up_to"`
}

func (v *service) status() (*status, error) {
	out, err := exec.Command(v.s.program, "--status", "--json", "--control="+v.socket).Output()
	if err != nil {
		return nil, err
	}
	st := new(status)
	return st, json.Unmarshal(out, st)
}

// await waits for a state.
func (v *service) await(state string) error {
	return v.until("the state "+state, func() bool {
		st, err := v.status()
		return err == nil && st.State == state
	})
}

func (v *service) until(what string, holds func() bool) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); time.Now().Before(end); <-tick.C {
		if holds() {
			return nil
		}
		select {
		case err := <-v.ended:
			v.ended <- err
			return fmt.Errorf("syncd ended before %s: %v\n%s", what, err, v.log.String())
		default:
		}
	}
	return fmt.Errorf("no %s after %v", what, patience)
}

// oneFile tells how long one change takes.
func (v *service) oneFile() error {
	const name, text = "made while you watch.txt", "a change\n"
	if err := os.WriteFile(filepath.Join(v.s.src, name), []byte(text), 0o644); err != nil {
		return err
	}
	began := time.Now()
	there := filepath.Join(v.s.dst, name)
	err := v.until("new file at the destination", func() bool {
		got, err := os.ReadFile(there)
		return err == nil && string(got) == text
	})
	if err == nil {
		fmt.Printf("   a new file was at the destination %.1f ms after it was closed\n", float64(time.Since(began))/1e6)
	}
	return err
}

// manyChanges makes a second tree and changes it in every way, without waiting for the service.
func (v *service) manyChanges() error {
	again := filepath.Join(v.s.src, "again")
	if err := errors.Join(makeTree(again), changeTree(again)); err != nil {
		return err
	}
	before := time.Now()
	err := v.until("agreement", func() bool {
		st, err := v.status()
		return err == nil && st.InSync != nil && st.InSync.After(before)
	})
	if err != nil {
		return err
	}
	fmt.Println("   a second tree came and was changed in every way; the service says that it is in sync")
	return v.s.compare()
}

// cutover moves a writer that never stops until it is frozen.
func (v *service) cutover() error {
	step("the cutover: somebody writes ten files a second; freeze, prove, go")
	frozen, report := filepath.Join(v.s.dir, "frozen"), filepath.Join(v.s.dir, "report")
	ctx, stop := context.WithCancel(context.Background())
	var writer sync.WaitGroup
	var written atomic.Int64
	defer writer.Wait()
	defer stop()
	writer.Go(func() { v.write(ctx, frozen, &written) })
	_, err := v.s.run("--cutover", "--control="+v.socket, "--report="+report,
		"--freeze-hook=touch "+frozen+"; sleep 0.2", "--thaw-hook=rm -f "+frozen, "--go-hook=true")
	if err != nil {
		return fmt.Errorf("%w\n%s", err, v.log.String())
	}
	stop()
	writer.Wait()
	if err := v.proof(report + ".json"); err != nil {
		return err
	}
	fmt.Printf("   %d files had been written until the freeze\n", written.Load())
	if err := v.s.compare(); err != nil {
		return err
	}
	select {
	case err := <-v.ended:
		v.ended <- err
		return err
	case <-time.After(patience):
		return errors.New("the service goes on after the cutover")
	}
}

// write is an application that stops when the freeze hook says so.
func (v *service) write(ctx context.Context, frozen string, n *atomic.Int64) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if _, err := os.Lstat(frozen); err == nil {
			return
		}
		name := filepath.Join(v.s.src, fmt.Sprintf("written %d", n.Load()))
		if os.WriteFile(name, []byte(name), 0o644) == nil {
			n.Add(1)
		}
	}
}

// proof shows what the report says.
func (v *service) proof(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var r struct {
		Outcome       string
		FrozenSeconds float64 `json:"frozen_seconds"`
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return err
	}
	if r.Outcome != "done" {
		return fmt.Errorf("the report says %q:\n%s", r.Outcome, text)
	}
	fmt.Printf("   frozen for %.2f s; both sides were proven equal by checksum before the go\n", r.FrozenSeconds)
	return nil
}
