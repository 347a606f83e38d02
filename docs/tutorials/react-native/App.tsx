import { AudioModule, AudioPlayer, RecordingPresets, createAudioPlayer, setAudioModeAsync, useAudioRecorder } from "expo-audio";
import { useEffect, useRef, useState } from "react";
import { Pressable, Text, View } from "react-native";

import { Parley } from "./parley";

const SERVER = "ws://192.168.1.10:8000"; // this machine, as the phone sees it
const TOKEN = null; // from your own backend, where Parley wants one

export default function App() {
  const recorder = useAudioRecorder(RecordingPresets.HIGH_QUALITY); // AAC in M4A, on both systems
  const player = useRef<AudioPlayer | null>(null);
  const parley = useRef<Parley | null>(null);
  const [state, setState] = useState("waiting");
  const [words, setWords] = useState("");

  useEffect(() => {
    const line = new Parley(
      SERVER,
      "ann",
      {
        onAnswer: (uri) => {
          player.current?.remove();
          player.current = createAudioPlayer({ uri });
          player.current.play();
        },
        onText: setWords,
        onError: setWords,
        onState: setState,
      },
      TOKEN,
    );
    parley.current = line;
    line.dial();
    return () => line.close();
  }, []);

  const begin = async () => {
    player.current?.pause(); // the user speaks: be silent
    await AudioModule.requestRecordingPermissionsAsync();
    await setAudioModeAsync({ allowsRecording: true, playsInSilentMode: true });
    await recorder.prepareToRecordAsync();
    recorder.record();
  };

  const finish = async () => {
    await recorder.stop();
    await setAudioModeAsync({ allowsRecording: false, playsInSilentMode: true });
    if (recorder.uri) parley.current?.say(await base64(recorder.uri));
  };

  return (
    <View style={{ flex: 1, justifyContent: "center", alignItems: "center", gap: 24 }}>
      <Pressable onPressIn={begin} onPressOut={finish}>
        <Text>Hold to talk</Text>
      </Pressable>
      <Text>{state}</Text>
      <Text>{words}</Text>
    </View>
  );
}

/** A file's bytes, without the `data:` before them. */
async function base64(uri: string): Promise<string> {
  const file = await (await fetch(uri)).blob();
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onerror = reject;
    reader.onload = () => resolve((reader.result as string).split(",")[1]);
    reader.readAsDataURL(file);
  });
}
