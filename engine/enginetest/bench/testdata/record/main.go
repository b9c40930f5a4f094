// Command record is a guest of the design that Leat is compared with: the host
// hands it one record at a time, a protobuf message of named values, and it
// masks the address.
package main

import (
	"strings"
	"unsafe"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

func main() {}

var input, output []byte

//go:wasmexport leat_alloc
func alloc(size uint32) unsafe.Pointer {
	if uint32(cap(input)) < size {
		input = make([]byte, size)
	}
	return unsafe.Pointer(unsafe.SliceData(input))
}

//go:wasmexport process
func process(at unsafe.Pointer, size uint32) uint64 {
	var record structpb.Struct
	if err := proto.Unmarshal(unsafe.Slice((*byte)(at), size), &record); err != nil {
		panic(err)
	}
	record.Fields["email"] = structpb.NewStringValue(mask(record.Fields["email"].GetStringValue()))
	var err error
	if output, err = (proto.MarshalOptions{}).MarshalAppend(output[:0], &record); err != nil {
		panic(err)
	}
	return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(output))))<<32 | uint64(len(output))
}

func mask(value string) string {
	at := strings.LastIndexByte(value, '@')
	if at < 1 || value[0] >= 0x80 {
		return "***"
	}
	return value[:1] + "***" + value[at:]
}
