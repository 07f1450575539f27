// Arrow Go as an implementation for the conformance kit.
// Build: go build -buildmode=c-shared -o arrow_go.so
package main

// #include <stdint.h>
import "C"

import (
	"context"
	"errors"
	"runtime/cgo"
	"time"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/cdata"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

const rows = 4

var schema = arrow.NewSchema([]arrow.Field{{Name: "n", Type: arrow.PrimitiveTypes.Int64}}, nil)

func batchAt(index int64) arrow.RecordBatch {
	builder := array.NewInt64Builder(memory.DefaultAllocator)
	defer builder.Release()
	for i := int64(0); i < rows; i++ {
		builder.Append(rows*index + i)
	}
	column := builder.NewArray()
	defer column.Release()
	return array.NewRecordBatch(schema, []arrow.Array{column}, rows)
}

//export async_produce
func async_produce(handler unsafe.Pointer, batches, failAfter, delayUs C.int64_t) {
	stream := make(chan cdata.RecordMessage)
	stop := make(chan struct{})
	go func() {
		defer close(stream)
		for i := int64(0); i <= int64(batches); i++ {
			time.Sleep(time.Duration(delayUs) * time.Microsecond)
			message := cdata.RecordMessage{}
			if i == int64(failAfter) {
				message.Err = errors.New("planned failure")
			} else if i == int64(batches) {
				return
			} else {
				message.Record = batchAt(i)
			}
			select {
			case stream <- message:
			case <-stop:
				return
			}
		}
	}()
	_ = cdata.ExportAsyncRecordBatchStream(schema, stream, (*cdata.CArrowAsyncDeviceStreamHandler)(handler))
	close(stop)
}

type reader struct {
	cancel context.CancelFunc
	opened <-chan cdata.AsyncRecordBatchStream
	stream *cdata.AsyncRecordBatchStream
}

//export async_consume
func async_consume(handler unsafe.Pointer) C.uintptr_t {
	ctx, cancel := context.WithCancel(context.Background())
	stream := cdata.CreateAsyncDeviceStreamHandler(ctx, 4, (*cdata.CArrowAsyncDeviceStreamHandler)(handler))
	// on_schema waits until somebody takes the stream.
	opened := make(chan cdata.AsyncRecordBatchStream, 1)
	go func() {
		defer close(opened)
		if taken, isOpen := <-stream; isOpen {
			opened <- taken
		}
	}()
	return C.uintptr_t(cgo.NewHandle(&reader{cancel, opened, nil}))
}

func errnoOf(err error) C.int {
	var failure cdata.AsyncStreamError
	if errors.As(err, &failure) {
		return -C.int(failure.Code)
	}
	return -22
}

//export async_read
func async_read(consumer C.uintptr_t, first *C.int64_t) C.int {
	self := cgo.Handle(consumer).Value().(*reader)
	if self.stream == nil {
		stream, isOpen := <-self.opened
		if !isOpen {
			return -22
		}
		self.stream = &stream
	}
	if self.stream.Err != nil {
		return errnoOf(self.stream.Err)
	}
	message, isOpen := <-self.stream.Stream
	if !isOpen {
		return 0
	}
	if message.Err != nil {
		return errnoOf(message.Err)
	}
	defer message.Record.Release()
	*first = C.int64_t(message.Record.Column(0).(*array.Int64).Value(0))
	return 1
}

//export async_close
func async_close(consumer C.uintptr_t) {
	cgo.Handle(consumer).Value().(*reader).cancel()
}

func main() {}
