// The view in 3-D: NiiVue's, fetched when it is wanted.

const ORANGE = {
  R: [0, 255], G: [0, 138], B: [0, 0], A: [0, 200], I: [0, 255],
};

export const hasWebGl2 = () =>
  Boolean(document.createElement("canvas").getContext("webgl2"));

let viewer = null;

/**
 * Show FLAIR and mask in three planes and as a volume.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {Uint8Array} flair a NIfTI file
 * @param {Uint8Array|null} mask a NIfTI file
 * @param {number[]|null} centre where the cross-hairs begin: shares of the volume, x, y and z
 */
export async function showInSpace(canvas, flair, mask, centre) {
  if (!viewer) {
    const { MULTIPLANAR_TYPE, Niivue, SHOW_RENDER, SLICE_TYPE } = await import("../../vendor/niivue.js");
    viewer = new Niivue({
      backColor: [0, 0, 0, 1], dragAndDropEnabled: false, loadingText: "", isColorbar: false,
      show3Dcrosshair: true, sliceType: SLICE_TYPE.MULTIPLANAR,
      multiplanarShowRender: SHOW_RENDER.ALWAYS, isOrientCube: false,
      multiplanarLayout: MULTIPLANAR_TYPE.GRID, isRadiologicalConvention: true,
      clipPlaneColor: [0, 0, 0, 0],
    });
    viewer.addColormap("tumour", ORANGE);
    await viewer.attachToCanvas(canvas);
  }
  while (viewer.volumes.length) viewer.removeVolume(viewer.volumes[0]);
  await viewer.loadFromArrayBuffer(flair.buffer, "flair.nii");
  if (!mask) return;
  await viewer.loadFromArrayBuffer(mask.buffer, "mask.nii");
  const overlay = viewer.volumes[1];
  overlay.cal_min = 0.5;
  overlay.cal_max = 1;
  viewer.setColormap(overlay.id, "tumour");
  viewer.setOpacity(1, 0.6);
  viewer.setClipPlane([0.2, 270, 0]); // cut away what hides the mask
  if (centre) viewer.scene.crosshairPos = centre;
  viewer.drawScene();
}
