package control

import (
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestMeter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m Meter
		expect := func(want float64) {
			t.Helper()
			if got := m.Rate(); math.Abs(got-want) > 0.001*want {
				t.Errorf("after %v: %v a second, want %v", time.Since(m.start), got, want)
			}
		}
		expect(0)
		m.Add(500)
		expect(500) // of less than a second nothing is made up
		<-time.After(10 * time.Second)
		expect(50)
		// A steady stream is its rate, from the first minute on.
		m = Meter{}
		for i := range 200 {
			m.Add(100)
			<-time.After(time.Second)
			if i > 2 {
				if got := m.Rate(); math.Abs(got-100) > 2 {
					t.Fatalf("after %d s: %v a second", i, got)
				}
			}
		}
		// It fades within a minute, and is gone however long it takes.
		<-time.After(30 * time.Second)
		if got := m.Rate(); math.Abs(got-50) > 2 {
			t.Errorf("after half a minute of silence: %v", got)
		}
		<-time.After(32 * time.Second)
		expect(0)
		m.Add(60)
		<-time.After(1000 * time.Hour)
		expect(0)
		m.Add(60)
		<-time.After(500 * time.Millisecond)
		expect(60 / 60.5)
	})
}

func TestMeterFromManyGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m Meter
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				for range 100 {
					m.Add(1)
					m.Rate()
				}
			})
		}
		all.Wait()
		if got := m.Rate(); got != 1000 {
			t.Errorf("%v a second", got)
		}
	})
}
